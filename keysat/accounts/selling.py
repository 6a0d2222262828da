"""Choose the account that sells: the one a product names, or else one that the operator ranked."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.accounts.breaker import may_create
from keysat.core.errors import NotFound, SalesUnavailable
from keysat.core.hints import Hint
from keysat.models import ProviderAccount
from keysat.models.audit import audit
from keysat.models.provider_account import MAX_REST
from keysat.providers.registry import adapter_of, kinds


def choose_account(session: Session, name: str | None = None, account_id: UUID | None = None) -> ProviderAccount:
    """Return the account with this name or id, or else the first ranked account that can sell now.

    Raises:
        NotFound: no account has this name.
        SalesUnavailable: the account is paused or failing, or no account sells.
    """
    wanted = select(ProviderAccount)
    if name is not None:
        wanted = wanted.where(ProviderAccount.name == name)
    elif account_id is not None:
        wanted = wanted.where(ProviderAccount.id == account_id)
    else:
        ranked = ProviderAccount.selling_rank.is_not(None)
        wanted = wanted.where(ranked).order_by(ProviderAccount.selling_rank)
    accounts = session.scalars(wanted).all()
    if name is not None and not accounts:
        raise NotFound("provider account", name, Hint.LIST_ACCOUNTS)
    return _first_able(session, accounts)


def addresses_that_sell(session: Session, account_id: UUID | None) -> list[str]:
    """Return the addresses of the accounts that may sell a product whose own account is `account_id`, or None."""
    wanted = ProviderAccount.selling_rank.is_not(None) if account_id is None else ProviderAccount.id == account_id
    return list(session.scalars(select(ProviderAccount.base_url).where(wanted)))


def accounts_down(session: Session) -> tuple[list[UUID], bool]:
    """Return the accounts that can't take a payment now, and whether all that sell any product are among them.

    An account whose calls fail is called again after at most an hour. Whether it is back is unknown until then.
    """
    accounts = session.scalars(select(ProviderAccount)).all()
    now = session.scalars(select(func.now())).one()
    down = [account.id for account in accounts if account.paused or account.failed_within(MAX_REST, now)]
    ranked = [account.id for account in accounts if account.selling_rank is not None]
    return down, bool(ranked) and set(ranked) <= set(down)


def proves_payments(session: Session) -> bool:
    """Return whether the provider of any account tells the payment hashes of Lightning payments."""
    used = session.scalars(select(ProviderAccount.kind).distinct())
    return any(kind in kinds() and adapter_of(kind).proves_payments for kind in used)


def _first_able(session: Session, accounts: Sequence[ProviderAccount]) -> ProviderAccount:
    if not accounts:
        raise SalesUnavailable("no provider account sells.", hint=Hint.SELL_WITH_ACCOUNT)
    causes = []
    for account in accounts:
        if account.paused:
            causes.append(f"provider account {account.name} is paused ({account.pause_reason})")
        elif may_create(session, account.id):
            return account
        else:
            causes.append(f"provider account {account.name} fails to make invoices ({account.create_last_error})")
    raise SalesUnavailable("; ".join(causes) + ".")


def sell_with(session: Session, names: Sequence[str], actor: str) -> None:
    """Set the accounts that sell, in this order. Each one sells only while those before it can't.

    Raises:
        NotFound: no such account.
    """
    known = {account.name: account for account in session.scalars(select(ProviderAccount))}
    for name in names:
        if name not in known:
            raise NotFound("provider account", name, Hint.LIST_ACCOUNTS)
    session.execute(update(ProviderAccount).values(selling_rank=None))
    for rank, name in enumerate(dict.fromkeys(names), start=1):
        session.execute(update(ProviderAccount).where(ProviderAccount.name == name).values(selling_rank=rank))
        audit(session, actor, "provider.sells", known[name].id, name=name, rank=rank)


def sell_with_first(session: Session, account: ProviderAccount, actor: str) -> None:
    """Let a new account sell if none does. A real account replaces sandboxes, whose payments aren't real."""
    others = ProviderAccount.id != account.id
    count, real = session.execute(
        select(func.count(), func.count().filter(~ProviderAccount.is_sandbox)).where(
            others, ProviderAccount.selling_rank.is_not(None)
        )
    ).one()
    if count == 0 or (real == 0 and not account.is_sandbox):
        sell_with(session, [account.name], actor)
        session.refresh(account)
