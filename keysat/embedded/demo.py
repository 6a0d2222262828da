"""`keysat demo`: a complete Keysat in a scratch directory, with all webhooks lost and a worker killed.

It opens 200 invoices with two provider accounts. Of these, 150 are paid in full: some late, some overpaid, and some
with a payment that is confirmed later. Five more are paid in part. At the end it compares the sandbox's ledger, which
records the payments, with the licenses in the database. The two share no code.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from sqlalchemy import func, select

from keysat.accounts.manage import NewAccount, add_account
from keysat.catalog.products import add_policy, add_product
from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, engine, reading, transaction
from keysat.core.errors import KeysatError
from keysat.core.money import Money
from keysat.core.secrets import secret_box
from keysat.core.settings import Settings, load_settings
from keysat.embedded.demo_report import Comparison, Progress, compare, print_report
from keysat.embedded.prepare import prepare
from keysat.embedded.stack import Stack
from keysat.licenses.signer import load_signer
from keysat.models import Invoice, License
from keysat.sales.order import Order
from keysat.sales.purchase import purchase
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox

PRICE = Money(21_000, "BTC")
STORES = {"berlin": "sandbox-store-berlin", "lisbon": "sandbox-store-lisbon"}
OPENED, PAID_ON_TIME, ZERO_CONF, OVER, LATE, PARTIAL = 200, 120, 10, 10, 10, 5
PAID = PAID_ON_TIME + ZERO_CONF + OVER + LATE
MAX_SECONDS = 80.0
_WEBHOOK_SECRET = "made-up-secret-of-the-demo-store"  # noqa: S105 - of a provider that exists for a minute


def run_in_scratch(*, keep: bool) -> int:
    """Run the demo in its own process, with the scratch directory's settings. Returns its exit code."""
    scratch = Path(tempfile.mkdtemp(prefix="keysat-demo-"))
    own = ("KEYSAT_", "DATABASE_URL", "BROKER_URL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= {"KEYSAT_DATA_DIR": str(scratch), "KEYSAT_SCAN_SECONDS": "3", "KEYSAT_LOG_LEVEL": "WARNING"}
    try:
        itself = [sys.executable, "-m", __name__]
        return subprocess.run(itself, env=environment, check=False).returncode  # noqa: S603 - our own module
    except KeyboardInterrupt:
        return 130
    finally:
        if keep:
            sys.stderr.write(f"Everything is left in {scratch}.\n")
        else:
            shutil.rmtree(scratch, ignore_errors=True)


def main() -> int:
    """Run the demo in the environment's data directory. Returns 0 only if ledger and licenses agree."""
    settings, progress = load_settings(), Progress()
    with Sandbox() as sandbox, SandboxClient(sandbox.url) as client:
        progress.say(f"A BTCPay-compatible sandbox listens at {sandbox.url}; it drops every webhook.")
        stack = Stack(
            settings, lambda: prepare(settings, _quiet), progress.say, worker_args=("--concurrency=2",), flower=False
        )
        with _running(stack):
            _set_up_shop(settings, client, sandbox.url)
            _open_invoices(progress, lambda: load_signer(settings.signing_key_file).key_id)
            _pay(client, progress)
            progress.say(
                "No webhook reached Keysat. A scan checks each invoice 30 s after it was opened and finds payments."
            )
            killed = _await_licenses(stack, progress)
            comparison = compare(client.ledger())
            example = _example(settings)
    print_report(comparison, worker_killed=killed, example=example)
    return 0 if _as_promised(comparison) and killed else 3


def _quiet(_: str) -> None:
    """Discard what `prepare` reports about a scratch directory."""


@contextmanager
def _running(stack: Stack) -> Iterator[None]:
    stack.start()
    over = threading.Event()
    supervisor = threading.Thread(target=stack.supervise, args=(over,), name="supervisor")
    supervisor.start()
    try:
        yield
    finally:
        over.set()
        supervisor.join()
        engine().dispose()
        stack.stop()


def _set_up_shop(settings: Settings, client: SandboxClient, url: str) -> None:
    client.set_webhooks(drop=1.0)
    with transaction() as session:
        add_product(session, "editor", "Editor", PRICE, actor="cli")
        add_policy(session, "editor", "standard", "Standard", Terms(entitlements=("export", "plugins")), actor="cli")
        for name, store in STORES.items():
            api_key = f"made-up-api-key-{name}"
            client.register_store(store, api_key, f"{url}/webhooks-nobody-gets", _WEBHOOK_SECRET)
            add_account(
                session,
                secret_box(settings),
                NewAccount(
                    name=name,
                    kind="btcpay",
                    base_url=url,
                    store_id=store,
                    api_key=api_key,
                    webhook_secret=_WEBHOOK_SECRET,
                ),
                actor="cli",
            )


def _open_invoices(progress: Progress, signer_id: Callable[[], str]) -> None:
    names = list(STORES)
    for number in range(OPENED):
        email = f"buyer{number:03}@example.com"
        order = Order("editor", account=names[number % len(names)], buyer_email=email)
        purchase(DATABASE, order, signer_id, "demo")
        progress.opened = number + 1
        progress.show()


def _pay(client: SandboxClient, progress: Progress) -> None:
    """Pay invoices as buyers, a few per second. Unconfirmed payments are confirmed at the end."""
    with reading() as session:
        invoices = session.scalars(select(Invoice).order_by(Invoice.id)).all()
    ids = iter([str(invoice.provider_invoice_id) for invoice in invoices])
    double = f"{Money(PRICE.amount * 2, PRICE.currency).to_decimal():f}"
    half = f"{Money(PRICE.amount // 2, PRICE.currency).to_decimal():f}"
    ways: list[dict[str, Any]] = [
        *[{"confirmations": 0}] * ZERO_CONF,
        *[{}] * PAID_ON_TIME,
        *[{"amount": double}] * OVER,
        *[{"late": True}] * LATE,
    ]
    unconfirmed = []
    for way in ways:
        invoice_id = next(ids)
        client.pay(invoice_id, **way)
        unconfirmed += [invoice_id] if way.get("confirmations") == 0 else []
        progress.paid += 1
        progress.show()
        time.sleep(0.05)
    for _ in range(PARTIAL):
        client.pay(partial := next(ids), half)
        client.expire(partial)
    for invoice_id in unconfirmed:
        client.confirm(invoice_id)


def _await_licenses(stack: Stack, progress: Progress) -> bool:
    """Wait until all licenses are issued, and kill the worker with -9 in between. Returns whether it was killed."""
    deadline, killed = time.monotonic() + MAX_SECONDS, False
    while time.monotonic() < deadline:
        with reading() as session:
            progress.licensed = session.scalar(select(func.count()).select_from(License)) or 0
            progress.review = session.scalar(select(func.count(Invoice.review_reason))) or 0
        progress.show()
        if not killed and PAID // 5 <= progress.licensed < PAID:
            stack.processes["worker"].kill()
            killed = True
            progress.say(f"The worker was killed with -9 when {progress.licensed} licenses were issued.")
        if progress.licensed >= PAID and progress.review >= PARTIAL:
            break
        time.sleep(0.1)
    progress.finish()
    return killed


def _as_promised(comparison: Comparison) -> bool:
    return comparison.agrees and len(comparison.paid) == PAID and len(comparison.review) == PARTIAL


def _example(settings: Settings) -> str:
    """Return the command that verifies one of the license keys without any server."""
    signer = load_signer(settings.signing_key_file)
    with reading() as session:
        row = session.scalars(select(License).order_by(License.id).limit(1)).first()
    if row is None:
        return ""
    der = signer.public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    program = Path(sys.executable).with_name("keysat")
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    return shlex.join(
        [str(shown), "license", "verify", signer.key_for(row), "--public-key", base64.b64encode(der).decode()]
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeysatError as error:
        sys.exit(f"keysat: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
