"""Sweep an account: list many invoices in one provider call, and reconcile only those that changed.

A list is a hint, like a webhook: each change leads to `reconcile_invoice`, which queries the provider again. Unchanged
invoices are rescheduled, which reduces a backlog. No transaction is open during provider calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from keysat.accounts.failures import note_failure
from keysat.accounts.recheck import rejection
from keysat.core.db import Database
from keysat.core.errors import CredentialsRejected, KeysatError, ResponseTooLarge
from keysat.models import ProviderAccount, Sweep
from keysat.models.audit import audit
from keysat.providers.base import InvoicePage, Provider, UnreadableInvoice
from keysat.providers.registry import adapter_of, provider_for
from keysat.queue.claim import Claim
from keysat.settlement.adopt import adopt_lost
from keysat.settlement.backlog import LEASE, begin_sweep
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.sweep_rows import (
    adopt_drafts,
    claim_at_once,
    ids_of_other_accounts,
    is_id,
    is_paid,
    names_a_row,
    ours_of,
    partition,
    reschedule,
)

PAGE = 200


@dataclass(frozen=True)
class _Called:
    account_id: UUID
    sealed_credentials: bytes


@dataclass(frozen=True)
class Page:
    """The result of a page: the sweep's progress, and the invoices to reconcile."""

    sweep: Sweep
    changed: list[Claim]

    @property
    def finished(self) -> bool:
        """Whether this was the last page."""
        return self.sweep.finished


def pages(
    database: Database,
    account_id: UUID,
    rules: SettlementRules,
    since: datetime | None = None,
    *,
    restart: bool = False,
) -> Iterator[Page]:
    """Sweep an account page by page. If the caller stops early, the next sweep resumes there.

    Raises:
        Conflict: another process is sweeping this account.
        NotSupported, CallFailed: as `sweep_page`.
    """
    with database.transaction() as session:
        sweep = begin_sweep(session, session.get_one(ProviderAccount, account_id), since, restart=restart)
    try:
        while not sweep.finished:
            page = sweep_page(database, sweep, rules)
            sweep = page.sweep
            yield page
    finally:
        with database.transaction() as session:
            session.execute(update(Sweep).where(Sweep.id == sweep.id).values(leased_until=None))


def sweep_page(database: Database, sweep: Sweep, rules: SettlementRules) -> Page:
    """Fetch the next page and write its results.

    Raises:
        NotSupported: the provider can't list invoices.
        CallFailed: no usable response. The sweep doesn't advance.
    """
    with database.reading() as session:
        account = session.get_one(ProviderAccount, sweep.provider_account_id)
    try:
        found = _fetch(provider_for(account), sweep)
    except KeysatError as error:
        rejected = rejection(provider_for(account), error) if isinstance(error, CredentialsRejected) else None
        with database.transaction() as session:
            note_failure(session, _Called(account.id, account.sealed_credentials), error, "sweep", rejected=rejected)
        raise
    with database.transaction() as session:
        return _write(session, sweep, account, found, rules)


def _fetch(provider: Provider, sweep: Sweep) -> InvoicePage:
    """Fetch the next page. Halve its size while the response is too large, and skip a single entry that is too large.

    Raises as `Provider.list_invoices`.
    """
    take = min(PAGE, provider.max_page)
    while True:
        try:
            return provider.list_invoices(sweep.since, sweep.next_until, sweep.skip, take)
        except ResponseTooLarge as error:
            if take == 1:
                entry = UnreadableInvoice(None, None, str(error))
                return InvoicePage((), (entry,), 1, None, is_last=False)
            take = max(1, take // 2)


def _write(session: Session, sweep: Sweep, account: ProviderAccount, page: InvoicePage, rules: SettlementRules) -> Page:
    found = page.found
    ours = ours_of(session, account.id, found)
    adopted, conflicts = adopt_drafts(session, account.id, ours, found)
    known_ids = {str(row.id) for row in ours} | ids_of_other_accounts(session, account.id, found)
    lost = [
        invoice
        for invoice in found
        if is_paid(invoice) and names_a_row(invoice) and invoice.snapshot.order_id not in known_ids
    ]
    made, orphans = adopt_lost(session, account, lost)
    changed, same = partition(ours, found, rules)
    claims = claim_at_once(session, [*changed, *adopted, *made])
    reschedule(session, same)
    next_until, skip = _next_page(sweep, page, by_date=adapter_of(account.kind).lists_by_date)
    unreadable = [asdict(entry) for entry in page.unreadable if is_id(entry.order_id)]
    row = session.execute(
        update(Sweep)
        .where(Sweep.id == sweep.id)
        .values(
            next_until=next_until,
            skip=skip,
            seen=Sweep.seen + page.count,
            skipped=Sweep.skipped + len(page.unreadable),
            changed=Sweep.changed + len(claims),
            adopted=Sweep.adopted + len(adopted) + len(made),
            orphans=Sweep.orphans.concat([*orphans, *conflicts, *unreadable]),
            leased_until=None if page.is_last else func.now() + LEASE,
            finished_at=func.now() if page.is_last else None,
        )
        .returning(Sweep)
        .execution_options(populate_existing=True)
    ).scalar_one()
    if page.is_last:
        counts = {name: getattr(row, name) for name in ("seen", "skipped", "changed", "adopted")}
        audit(session, "sweep", "account.swept", account.id, **counts, orphans=len(row.orphans))
    return Page(row, claims)


def _next_page(sweep: Sweep, page: InvoicePage, *, by_date: bool) -> tuple[datetime, int]:
    """Return the time and offset of the next page: the oldest second of this page, or a higher offset.

    A time outside the remaining span is an error in an entry. It must not make the sweep skip the invoices in between.
    """
    if page.is_last:
        return sweep.next_until, sweep.skip
    if by_date and page.oldest is not None:
        oldest = page.oldest.astimezone(UTC)
        if sweep.since <= oldest < sweep.next_until.astimezone(UTC).replace(microsecond=0):
            return oldest, 0
    return sweep.next_until, sweep.skip + page.count
