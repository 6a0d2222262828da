"""The tasks, in the order in which they run. Those of the queue `deliver` are in `keysat.tasks.sending`.

A message only wakes a worker. Pending work is in PostgreSQL.

A task reads its arguments, calls, commits and sends. Arguments are ids. A `KeysatError` fails the task with one
sentence in the log and in Flower. Flower also shows what a task returns. No code reads it, so it is a short text
without buyers' data.
"""

from __future__ import annotations

import math
import random
import time
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from celery import Task

from keysat.accounts.breaker import CallableAccount, callable_accounts
from keysat.accounts.inbox import claim_events, hint_of, mark_handled, release_events
from keysat.accounts.recheck import claim_rechecks, release_rechecks, resume_accepted
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import KeysatError
from keysat.core.hints import hint_fields
from keysat.core.logs import get_logger
from keysat.core.settings import load_settings
from keysat.invoices.due import claim_due, claim_settled, claim_unfulfilled, release_invoices
from keysat.models import ProviderAccount
from keysat.models.epoch import notice_restore
from keysat.models.task_run import note_run, ran_within
from keysat.operations.retention import prune
from keysat.operations.status import read_status
from keysat.providers.registry import provider_for
from keysat.queue.claim import Claim
from keysat.queue.send import as_id, fan_out, queued, send
from keysat.sales.expiry import give_notices
from keysat.sales.outages import credit_outages
from keysat.settlement.backlog import backlogged
from keysat.settlement.issue import issue
from keysat.settlement.outcome import rules_of
from keysat.settlement.reconcile import Result, reconcile
from keysat.settlement.sweep import pages
from keysat.tasks.app import app
from keysat.tasks.retry import MAX_RETRIES, again_or_give_up
from keysat.tasks.support import payer, signer_id
from keysat.tips.due import claim_tips, release_tips
from keysat.tips.pay import pay

# Max settled invoices per account that a scan checks for returned money. These checks are not urgent.
SETTLED_CHECKS = 20
RECHECKS = 100

STEADY = timedelta(days=2)

# A sweep shares its worker with scans, so after a while it continues in another message.
NOTICES, NOTICE_SECONDS = 100, 10.0  # in one transaction, and in one run
SWEEP_SECONDS, SWEEP_MESSAGE_SECONDS = 10.0, 60
PRUNE_SECONDS = 20.0  # the next run deletes what is left

log = get_logger(__name__)


@app.task(name="keysat.scan_pending", throws=(KeysatError,))
def scan_pending() -> str:
    """Send the tasks for pending work.

    Send `issue_license` for settled invoices without a license, `handle_provider_event` for stored webhooks,
    `reconcile_invoice` for invoices to check, and `recheck_account` for rejected credentials.
    """
    limit = load_settings().scan_queue_limit
    room = limit - queued(app, "issue")
    licenses = fan_out(DATABASE, issue_license, claim_unfulfilled, room, release_invoices)
    events = fan_out(DATABASE, handle_provider_event, claim_events, limit - queued(app, "issue"), release_events)
    with transaction() as session:
        note_run(session, "scan_pending")
        accounts = callable_accounts(session)
    checks = _scan_accounts(accounts, limit - queued(app, "reconcile"))
    fan_out(DATABASE, recheck_account, claim_rechecks, RECHECKS, release_rechecks)
    log.info("scanned", licenses=licenses, checks=checks, events=events)
    return f"sent: {licenses} licenses, {checks} checks, {events} events"


def _scan_accounts(accounts: list[CallableAccount], room: int) -> int:
    """Send `reconcile_invoice` for invoices to check, with an equal share of the room for each account."""
    random.shuffle(accounts)  # so that scarce room doesn't always go to the same account
    checks = 0
    for left, account in zip(range(len(accounts), 0, -1), accounts, strict=True):
        share = 1 if account.probe else math.ceil((room - checks) / left)
        due = partial(claim_due, account_id=account.account_id)
        checks += fan_out(DATABASE, reconcile_invoice, due, share, release_invoices)
        if not account.probe:
            settled = partial(claim_settled, account_id=account.account_id)
            checks += fan_out(DATABASE, reconcile_invoice, settled, SETTLED_CHECKS, release_invoices)
    return checks


@app.task(name="keysat.reconcile_invoice", bind=True, max_retries=MAX_RETRIES, throws=(KeysatError,))
def reconcile_invoice(self: Task[Any, Any], invoice_id: str) -> str:
    """Check an invoice at the provider, act on the response, and send `issue_license` if a license is due."""
    wanted, began = as_id(invoice_id), time.monotonic()
    result = _checked(self, wanted, "reconcile")
    if result.license_due:
        send(DATABASE, issue_license, [Claim(wanted)], began, release_invoices)
    return _described(result)


@app.task(name="keysat.handle_provider_event", bind=True, max_retries=MAX_RETRIES, throws=(KeysatError,))
def handle_provider_event(self: Task[Any, Any], event_id: str) -> str:
    """Check the invoice of a stored webhook at the provider, as a scheduled check would."""
    wanted, began = as_id(event_id), time.monotonic()
    with reading() as session:
        hint = hint_of(session, wanted)
    if hint.waits:
        return "left to the next scan"
    result = None if hint.invoice_to_check is None else _checked(self, hint.invoice_to_check, "webhook", hint.named)
    with transaction() as session:
        mark_handled(session, wanted, None if result is None else result.asked_at)
    if result is not None and result.license_due:
        send(DATABASE, issue_license, [Claim(result.invoice_id)], began, release_invoices)
    return "nothing to check" if result is None else _described(result)


@app.task(name="keysat.issue_license", throws=(KeysatError,))
def issue_license(invoice_id: str) -> str:
    """Issue the license of a settled invoice, once. Refuse any other invoice."""
    key_id = signer_id()
    with transaction() as session:
        license_id = issue(session, as_id(invoice_id), key_id, actor="issue")
    if license_id is None:
        return "issued before"
    log.info("license issued", license_id=str(license_id))
    return f"license {license_id}"


@app.task(name="keysat.recheck_account", throws=(KeysatError,))
def recheck_account(account_id: str) -> str:
    """Check rejected credentials again, and resume the account if they pass."""
    with reading() as session:
        account = session.get_one(ProviderAccount, as_id(account_id))
    provider_for(account).check_credentials()
    with transaction() as session:
        resumed = resume_accepted(session, account.id, account.sealed_credentials)
    log.info("credentials accepted", account=account.name, resumed=resumed)
    return f"{account.name} is {'resumed' if resumed else 'accepted'}"


@app.task(name="keysat.sweep_accounts", throws=(KeysatError,))
def sweep_accounts() -> str:
    """Send `sweep_account` for accounts with a backlog, for example after an outage."""
    with reading() as session:
        accounts = backlogged(session, load_settings().sweep_backlog)
    for account_id in accounts:
        sweep_account.apply_async((str(account_id),), expires=SWEEP_MESSAGE_SECONDS)
    return f"sent: {len(accounts)} accounts"


@app.task(name="keysat.sweep_account", throws=(KeysatError,))
def sweep_account(account_id: str) -> str:
    """Check many invoices in one call and send `reconcile_invoice` for changed ones. Continue in another message."""
    until = time.monotonic() + SWEEP_SECONDS
    for page in pages(DATABASE, as_id(account_id), rules_of(load_settings())):
        send(DATABASE, reconcile_invoice, page.changed, time.monotonic(), release_invoices)
        if page.finished:
            log.info("swept", seen=page.sweep.seen, changed=page.sweep.changed, orphans=len(page.sweep.orphans))
        elif time.monotonic() > until:
            break
    else:
        return "finished"
    sweep_account.apply_async((account_id,), expires=SWEEP_MESSAGE_SECONDS)
    return "goes on in the next message"


@app.task(name="keysat.scan_subscriptions", throws=(KeysatError,))
def scan_subscriptions() -> str:
    """Lengthen the grace period of licenses whose renewal couldn't be paid since the last run. Give notice of ends."""
    with transaction() as session:
        credited = credit_outages(session)
    if credited:
        log.info("grace periods lengthened", licenses=credited)
    until, looked_at = time.monotonic() + NOTICE_SECONDS, 0
    while time.monotonic() < until:
        with transaction() as session:
            found = give_notices(session, NOTICES)
        looked_at += found
        if found < NOTICES:
            break
    return f"lengthened: {credited} grace periods, looked at the end of {looked_at} licenses"


@app.task(name="keysat.scan_tips", throws=(KeysatError,))
def scan_tips() -> str:
    """Send `pay_tip` for pending tips, after checking whether the database was restored."""
    with transaction() as session:
        if notice_restore(session):
            log.warning("the database was restored from a backup: tips of earlier sales wait for a person")
    room = load_settings().scan_queue_limit - queued(app, "tips")
    return f"sent: {fan_out(DATABASE, pay_tip, claim_tips, room, release_tips)} tips"


@app.task(name="keysat.pay_tip", throws=(KeysatError,))
def pay_tip(tip_id: str) -> str:
    """Advance a tip by one step: pay it, or find the outcome of its payment."""
    status = pay(DATABASE, payer(), as_id(tip_id), actor="tips")
    log.info("tip", tip_id=tip_id, status=status)
    return f"tip {status}"


@app.task(name="keysat.prune", throws=(KeysatError,))
def prune_() -> str:
    """Delete old finished rows, unless the clock is inconsistent with the previous run."""
    with transaction() as session:
        steady = ran_within(session, "prune", STEADY)
        note_run(session, "prune")
    if not steady:
        log.info("nothing pruned: the run before this one was long ago, or the clock has jumped")
        return "nothing deleted: the clock may have jumped"
    counts = prune(DATABASE, load_settings().retention_days, PRUNE_SECONDS)
    log.info("pruned", **counts)
    return f"deleted: {', '.join(f'{count} {name}' for name, count in counts.items())}"


@app.task(name="keysat.check_invariants", throws=(KeysatError,))
def check_invariants() -> str:
    """Log broken invariants and silent accounts, with the remedy."""
    with reading() as session:
        alarms = read_status(session, load_settings().scan_seconds).alarms
    for alarm in alarms:
        log.warning("alarm", alarm=str(alarm), **hint_fields(alarm))
    return f"{len(alarms)} alarms"


def _checked(task: Task[Any, Any], invoice_id: UUID, actor: str, named: str | None = None) -> Result:
    try:
        return reconcile(DATABASE, invoice_id, rules_of(load_settings()), actor, named=named)
    except KeysatError as error:
        again_or_give_up(task, invoice_id, error)


def _described(result: Result) -> str:
    return f"{result.outcome.action}: {result.provider_status}"
