"""Sweeping an account: ask the provider for many invoices in one call, and look closely only at those that changed.

A list is a hint, as a webhook is: whatever it says of an invoice leads to `reconcile_invoice`, which asks again. What
didn't change is put off to its next look, so that a backlog melts. No transaction is open while the provider is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from keysat import metrics
from keysat.claims import Claim
from keysat.db import Begin
from keysat.errors import CredentialsRejected, KeysatError
from keysat.invoices import draft
from keysat.invoices.schedule import next_check
from keysat.models import Invoice, ProviderAccount, Sweep
from keysat.models.audit import audit
from keysat.models.invoice import InvoiceStatus
from keysat.money import Money
from keysat.providers.base import FoundInvoice
from keysat.providers.recheck import rejection
from keysat.providers.registry import provider_for
from keysat.providers.trouble import note_failure
from keysat.settlement.adopt import adopt_lost
from keysat.settlement.backlog import LEASE, begin_sweep
from keysat.settlement.decision import decide
from keysat.settlement.outcome import Action, InvoiceState, SettlementRules

PAGE = 200
MESSAGE = timedelta(seconds=30)


@dataclass(frozen=True)
class _Called:
    account_id: UUID
    sealed_credentials: bytes


@dataclass(frozen=True)
class Page:
    """What a page led to: how far the sweep is, and the invoices that must be looked at."""

    sweep: Sweep
    changed: list[Claim]

    @property
    def finished(self) -> bool:
        """Whether it was the last one."""
        return self.sweep.finished_at is not None


def pages(
    read: Begin,
    begin: Begin,
    account_id: UUID,
    rules: SettlementRules,
    since: datetime | None = None,
    *,
    restart: bool = False,
) -> Iterator[Page]:
    """Sweep an account page by page; whoever stops in between leaves the rest to the next sweep.

    Raises:
        Conflict: somebody sweeps this account at this moment.
        NotSupported, RemoteError, SettingsError, InvalidInput: as `sweep_page`.
    """
    with begin() as session:
        sweep = begin_sweep(session, session.get_one(ProviderAccount, account_id), since, restart=restart)
    try:
        while sweep.finished_at is None:
            page = sweep_page(read, begin, sweep, rules)
            sweep = page.sweep
            yield page
    finally:
        with begin() as session:
            session.execute(update(Sweep).where(Sweep.id == sweep.id).values(leased_until=None))


def sweep_page(read: Begin, begin: Begin, sweep: Sweep, rules: SettlementRules) -> Page:
    """Ask for the next page and write what it led to.

    Raises:
        NotSupported: the provider can't list invoices.
        RemoteError, SettingsError, InvalidInput: no usable answer; the sweep stays where it is.
    """
    with read() as session:
        account = session.get_one(ProviderAccount, sweep.provider_account_id)
    try:
        provider = provider_for(account)
        with metrics.provider_call(account.name, "list_invoices"):
            found = provider.list_invoices(sweep.since, sweep.next_until, sweep.skip, PAGE)
    except KeysatError as error:
        rejected = rejection(provider_for(account), error) if isinstance(error, CredentialsRejected) else None
        with begin() as session:
            note_failure(session, _Called(account.id, account.sealed_credentials), error, "sweep", rejected=rejected)
        raise
    with begin() as session:
        return _write(session, sweep, account, found, rules)


def _write(
    session: Session, sweep: Sweep, account: ProviderAccount, found: list[FoundInvoice], rules: SettlementRules
) -> Page:
    ours = _ours(session, account.id, found)
    adopted = _adopt_drafts(session, account.id, ours, found)
    known_ids = {str(row.id) for row in ours}
    lost = [one for one in found if _paid(one) and _names_a_row(one) and one.snapshot.order_id not in known_ids]
    made, orphans = adopt_lost(session, account, lost)
    changed, same = _sort_out(ours, found, rules)
    claims = _claim(session, [*changed, *adopted, *made])
    _put_off(session, same)
    next_until, skip, over = _next_page(sweep, found)
    row = session.execute(
        update(Sweep)
        .where(Sweep.id == sweep.id)
        .values(
            next_until=next_until,
            skip=skip,
            seen=Sweep.seen + len(found),
            changed=Sweep.changed + len(claims),
            adopted=Sweep.adopted + len(adopted) + len(made),
            orphans=Sweep.orphans.concat(orphans),
            leased_until=None if over else func.now() + LEASE,
            finished_at=func.now() if over else None,
        )
        .returning(Sweep)
        .execution_options(populate_existing=True)
    ).scalar_one()
    if over:
        counts = {"seen": row.seen, "changed": row.changed, "adopted": row.adopted, "orphans": len(row.orphans)}
        audit(session, "sweep", "account.swept", account.id, **counts)
    return Page(row, claims)


def _ours(session: Session, account_id: UUID, found: Sequence[FoundInvoice]) -> list[Invoice]:
    """Our rows that a page is about: by the provider's id, or by ours that the provider kept."""
    theirs = [one.snapshot.provider_invoice_id for one in found]
    orders = [UUID(str(one.snapshot.order_id)) for one in found if _names_a_row(one)]
    return list(
        session.scalars(
            select(Invoice).where(
                Invoice.provider_account_id == account_id,
                or_(Invoice.provider_invoice_id.in_(theirs), Invoice.id.in_(orders)),
            )
        )
    )


def _adopt_drafts(
    session: Session, account_id: UUID, ours: Sequence[Invoice], found: Sequence[FoundInvoice]
) -> list[UUID]:
    """Give rows without a provider's id the invoice that the provider made for them."""
    adopted = []
    for row in ours:
        if not row.is_draft:
            continue
        one = draft.best([one for one in found if one.snapshot.order_id == str(row.id)])
        if one is not None:
            draft.adopt(session, row.id, account_id, one.created)
            adopted.append(row.id)
    return adopted


def _sort_out(
    ours: Sequence[Invoice], found: Sequence[FoundInvoice], rules: SettlementRules
) -> tuple[list[UUID], list[UUID]]:
    """Which rows the provider's word would change, and which it wouldn't."""
    said = {one.snapshot.provider_invoice_id: one.snapshot for one in found}
    changed: list[UUID] = []
    same: list[UUID] = []
    for row in ours:
        snapshot = said.get(row.provider_invoice_id or "")
        if snapshot is None:
            continue
        known = InvoiceState(
            status=InvoiceStatus(row.status),
            price=Money(row.amount, row.currency),
            reviewed=frozenset(row.reviewed),
            reversed=row.reversed_at is not None,
            by_hand=row.settled_by_hand,
        )
        outcome = decide(known, snapshot, rules)
        news = outcome.action is not Action.KEEP or outcome.alarm != row.last_error
        (changed if news else same).append(row.id)
    return changed, same


def _claim(session: Session, invoice_ids: list[UUID]) -> list[Claim]:
    """Take these, because a message for each is sent right now; a settled one's due time is its license's alone."""
    soon = func.greatest(func.now() + MESSAGE, Invoice.next_check_at)
    claimed = session.scalars(
        update(Invoice)
        .where(Invoice.id.in_(invoice_ids))
        .values(
            next_check_at=case((Invoice.status == InvoiceStatus.SETTLED, Invoice.next_check_at), else_=soon),
            check_count=Invoice.check_count + 1,
        )
        .returning(Invoice.id)
        .execution_options(synchronize_session=False)
    )
    return [Claim(invoice_id, MESSAGE.total_seconds()) for invoice_id in claimed]


def _put_off(session: Session, invoice_ids: list[UUID]) -> None:
    """What the provider said is what we know: the look that was due is done."""
    session.execute(
        update(Invoice)
        .where(Invoice.id.in_(invoice_ids), Invoice.status != InvoiceStatus.SETTLED)
        .where(Invoice.next_check_at <= func.now())
        .values(
            next_check_at=next_check(Invoice.status, Invoice.created_at),
            check_count=Invoice.check_count + 1,
            last_checked_at=func.now(),
        )
        .execution_options(synchronize_session=False)
    )


def _next_page(sweep: Sweep, found: Sequence[FoundInvoice]) -> tuple[datetime, int, bool]:
    """Where the next page begins: at the oldest second of this one, or further down in the same second."""
    if len(found) < PAGE:
        return sweep.next_until, sweep.skip, True
    oldest = min(one.created_at or sweep.since for one in found).astimezone(UTC)
    if oldest < sweep.next_until.astimezone(UTC).replace(microsecond=0):
        return oldest, 0, False
    return sweep.next_until, sweep.skip + len(found), False


def _paid(one: FoundInvoice) -> bool:
    return one.snapshot.paid is not None and one.snapshot.paid.amount > 0


def _names_a_row(one: FoundInvoice) -> bool:
    try:
        UUID(one.snapshot.order_id or "")
    except ValueError:
        return False
    return True
