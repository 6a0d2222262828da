"""Invoices: the amount charged, the last provider reading, and when to check again."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    and_,
    case,
    or_,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, enum_column, is_set, one_of
from keysat.models.epoch import current_epoch
from keysat.models.invoice_status import InvoiceStatus, PaymentException, Purpose, ReviewReason
from keysat.models.license import LicenseStatus


class Invoice(Base):
    """`amount` and `paid_amount` are in the smallest unit of `currency` (sat for BTC, cent for the others).

    `base_amount` is the price before the discount. A free invoice (`amount` 0) has no provider account and is created
    as settled. An invoice with an account and no `provider_invoice_id` is unopened: it was requested from the provider,
    last at `asked_at`. `expires_at` is until when it can be paid there, and `paid_at` is when the payment was received,
    if the provider reports it. `last_said` is the reading of the last check. `idempotency_key` identifies the request
    that opened the invoice, and `request_hash` is the SHA-256 of that request.

    `next_check_at` is when `scan_pending` next checks the provider or, once settled, for a missing license. NULL means
    that nothing is pending. `license_was` is the status of the license before `reversed_at`, if the reversal changed
    it, and `license_became` is the status after it. `reviewed` contains every reason the invoice was ever in review
    for. A reason is raised once, and again when more money is received. `epoch` is the epoch in which the row was
    created. What happened to an invoice since is unknown if it comes from an older dump or was adopted by a sweep.
    `rest_of_id` is the invoice that this one completes: it charges what was missing there. `credited` is what this one
    counts for there now, and `rest_paid` is what such invoices count for in this one, in total.
    `target_license_id` is the license that this one renews. It is NULL for a purchase. `trial_days` is how
    long a trial lasts that it is for.
    `payment_hashes` has the payment hash of the Lightning payment that paid the invoice alone: who knows its preimage
    paid. It is empty if there is none, and NULL until a check of the settled invoice read the payments.
    `payment_seen_at` is when a check first saw a payment, confirmed or not. `final_check_at` is when a check first
    found the invoice too old to check. A second such check, a day later, ends the checks. `acknowledged_at` is when a
    person acknowledged the error, which then raises no more alarms. `reversal_check_at` is when a settled invoice is
    next checked for returned money.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        # Each claim writes to every index that contains the invoice, so the number of indexes is small.
        UniqueConstraint("provider_invoice_id", "provider_account_id"),
        Index(
            "uq_invoices_idempotency_key",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        one_of("status", InvoiceStatus),
        one_of("exception", PaymentException),
        one_of("review_reason", ReviewReason),
        one_of("license_was", LicenseStatus),
        one_of("license_became", LicenseStatus),
        CheckConstraint("license_was IS NULL OR reversed_at IS NOT NULL", name="restorable"),
        CheckConstraint("reversal_check_at IS NULL OR status = 'settled'", name="reversal_check_at"),
        CheckConstraint("amount >= 0 AND amount <= base_amount", name="amount"),
        CheckConstraint("(provider_account_id IS NULL) = (amount = 0)", name="provider_account_id"),
        CheckConstraint("provider_account_id IS NOT NULL OR status = 'settled'", name="free"),
        CheckConstraint("(provider_invoice_id IS NULL) = (checkout_url IS NULL)", name="checkout_url"),
        CheckConstraint("(idempotency_key IS NULL) = (request_hash IS NULL)", name="request_hash"),
        CheckConstraint("paid_amount >= 0", name="paid_amount"),
        CheckConstraint("rest_paid >= 0", name="rest_paid"),
        CheckConstraint("rest_of_id <> id", name="rest_of_id"),
        CheckConstraint("credited IS NULL OR (rest_of_id IS NOT NULL AND credited >= 0)", name="credited"),
        Index("ix_invoices_rest_of_id", "rest_of_id", postgresql_where=text("rest_of_id IS NOT NULL")),
        CheckConstraint("trial_days IS NULL OR (trial_days > 0 AND amount = 0)", name="trial_days"),
        CheckConstraint("target_license_id IS NULL OR rest_of_id IS NULL", name="target_license_id"),
        Index(
            "ix_invoices_target_license_id",
            "target_license_id",
            postgresql_where=text("target_license_id IS NOT NULL"),
        ),
        CheckConstraint("(status = 'settled') = (settled_at IS NOT NULL)", name="settled_at"),
        CheckConstraint("fulfilled_at IS NULL OR status = 'settled'", name="fulfilled_at"),
        CheckConstraint("reversed_at IS NULL OR status = 'settled'", name="reversed_at"),
        Index("ix_invoices_buyer_email", text("lower(buyer_email)"), postgresql_where=text("buyer_email IS NOT NULL")),
        Index(
            "ix_invoices_settled", "provider_account_id", "settled_at", postgresql_where=text("settled_at IS NOT NULL")
        ),
        # Scans read only these two indexes, so their cost depends on the due rows, not on all rows.
        Index(
            "ix_invoices_due",
            "provider_account_id",
            "next_check_at",
            postgresql_where=text("next_check_at IS NOT NULL AND status <> 'settled'"),
        ),
        Index(
            "ix_invoices_unfulfilled",
            "next_check_at",
            postgresql_where=text("next_check_at IS NOT NULL AND status = 'settled'"),
        ),
        Index(
            "ix_invoices_reversal_check",
            "provider_account_id",
            "reversal_check_at",
            postgresql_where=text("reversal_check_at IS NOT NULL"),
        ),
        Index(
            "ix_invoices_review",
            "review_opened_at",
            postgresql_where=text("review_reason IS NOT NULL AND review_resolved_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    provider_account_id: Mapped[UUID | None] = mapped_column(ForeignKey("provider_accounts.id"))
    provider_invoice_id: Mapped[str | None]
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    policy_id: Mapped[UUID] = mapped_column(ForeignKey("policies.id"))
    status: Mapped[InvoiceStatus] = enum_column(InvoiceStatus, InvoiceStatus.PENDING)
    exception: Mapped[PaymentException] = enum_column(PaymentException, PaymentException.NONE)
    base_amount: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    paid_amount: Mapped[int | None] = mapped_column(BigInteger)
    rest_of_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    rest_paid: Mapped[int] = mapped_column(BigInteger, server_default="0")
    credited: Mapped[int | None] = mapped_column(BigInteger)
    trial_days: Mapped[int | None]
    target_license_id: Mapped[UUID | None] = mapped_column(ForeignKey("licenses.id", use_alter=True))
    buyer_email: Mapped[str | None]
    buyer_note: Mapped[str | None]
    checkout_url: Mapped[str | None]
    asked_at: Mapped[CreatedAt]
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[bytes | None]
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Time | None]
    paid_at: Mapped[Time | None]
    payment_hashes: Mapped[list[bytes] | None] = mapped_column(ARRAY(LargeBinary))
    settled_at: Mapped[Time | None]
    settled_by_hand: Mapped[bool] = mapped_column(server_default="false")
    fulfilled_at: Mapped[Time | None]
    reversed_at: Mapped[Time | None]
    license_was: Mapped[LicenseStatus | None] = enum_column(LicenseStatus)
    license_became: Mapped[LicenseStatus | None] = enum_column(LicenseStatus)
    review_reason: Mapped[ReviewReason | None] = enum_column(ReviewReason)
    reviewed: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    review_opened_at: Mapped[Time | None]
    review_resolved_at: Mapped[Time | None]
    payment_seen_at: Mapped[Time | None]
    epoch: Mapped[int] = mapped_column(server_default="0", default=current_epoch().scalar_subquery())
    next_check_at: Mapped[Time | None]
    final_check_at: Mapped[Time | None]
    reversal_check_at: Mapped[Time | None]
    check_count: Mapped[int] = mapped_column(server_default="0")
    last_checked_at: Mapped[Time | None]
    last_said: Mapped[str | None]
    error_count: Mapped[int] = mapped_column(server_default="0")
    last_error: Mapped[str | None]
    acknowledged_at: Mapped[Time | None]

    reversed = is_set("reversed_at")
    fulfilled = is_set("fulfilled_at")

    @hybrid_property
    def failing(self) -> bool:
        """Whether the last checks got no usable response and no person acknowledged that."""
        return self.error_count > 0 and self.acknowledged_at is None

    @failing.inplace.expression
    @classmethod
    def _failing(cls) -> ColumnElement[bool]:
        return and_(cls.error_count > 0, cls.acknowledged_at.is_(None))

    @property
    def purpose(self) -> Purpose:
        """What its payment is for."""
        if self.rest_of_id is not None:
            return Purpose.REST
        return Purpose.PURCHASE if self.target_license_id is None else Purpose.RENEWAL

    @property
    def is_draft(self) -> bool:
        """Whether the invoice was requested from the provider and its provider id isn't known yet."""
        return self.provider_account_id is not None and self.provider_invoice_id is None

    @hybrid_property
    def came_in(self) -> int:
        """The amount received: `paid_amount` if known, 0 if settled or marked by hand, else `amount`."""
        if self.paid_amount is not None:
            return self.paid_amount
        return 0 if self.settled_by_hand or self.exception == PaymentException.MARKED else self.amount

    @came_in.inplace.expression
    @classmethod
    def _came_in(cls) -> ColumnElement[int]:
        by_hand = or_(cls.settled_by_hand, cls.exception == PaymentException.MARKED)
        return case((cls.paid_amount.is_not(None), cls.paid_amount), (by_hand, 0), else_=cls.amount)

    @hybrid_property
    def in_review(self) -> bool:
        """Whether the invoice needs a person's decision."""
        return self.review_reason is not None and self.review_resolved_at is None

    @in_review.inplace.expression
    @classmethod
    def _in_review(cls) -> ColumnElement[bool]:
        return and_(cls.review_reason.is_not(None), cls.review_resolved_at.is_(None))

    @hybrid_property
    def license_withheld(self) -> bool:
        """Whether a review or a reversal prevents that a license is issued."""
        return self.in_review or self.reversed

    @license_withheld.inplace.expression
    @classmethod
    def _license_withheld(cls) -> ColumnElement[bool]:
        return or_(cls.in_review, cls.reversed)

    @hybrid_property
    def license_due(self) -> bool:
        """Whether the invoice is settled and its license is still to be issued."""
        return self.status == InvoiceStatus.SETTLED and not self.fulfilled and not self.license_withheld

    @license_due.inplace.expression
    @classmethod
    def _license_due(cls) -> ColumnElement[bool]:
        return and_(cls.status == InvoiceStatus.SETTLED, ~cls.fulfilled, ~cls.license_withheld)

    @hybrid_property
    def abandoned(self) -> bool:
        """Whether the invoice was never paid and is no longer checked. An invoice without a provider id isn't."""
        opened = self.provider_invoice_id is not None
        return opened and self.status != InvoiceStatus.SETTLED and self.next_check_at is None

    @abandoned.inplace.expression
    @classmethod
    def _abandoned(cls) -> ColumnElement[bool]:
        opened = cls.provider_invoice_id.is_not(None)
        return and_(opened, cls.status != InvoiceStatus.SETTLED, cls.next_check_at.is_(None))
