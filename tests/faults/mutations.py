"""`make mutations`: remove the safeguards of a paid invoice one at a time. Each time a bar must fail.

Works on copies of the project, one for each mutation. Prints which bar caught what. Exits with 1 if no bar caught one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.faults.stopwatch import Stopwatch

ROOT = Path(__file__).parents[2]
_COPIED = ("keysat", "tests", "celeryconfig.py", "pyproject.toml")
_REFETCH = (
    "    result = None if hint.invoice_to_check is None "
    'else _checked(self, hint.invoice_to_check, "webhook", hint.named)\n'
)
_BELIEVE = """    with transaction() as session:
        session.connection().exec_driver_sql(
            "UPDATE invoices SET status = 'settled', settled_at = now(), next_check_at = now() WHERE id = %s"
            " AND status = 'pending'"
            " AND EXISTS (SELECT FROM provider_events WHERE id = %s AND kind LIKE '%%Settled')",
            (hint.invoice_to_check, wanted),
        )
"""
_APPLIED = (
    "        applied, superseded = _write(session, check, ProviderResponse(snapshot, paid), outcome, rules, actor)\n"
)
_SEND_WITHIN = (
    "        from keysat.tasks.tasks import issue_license\n"
    "        issue_license.apply_async((str(invoice_id),), expires=30)\n"
)


@dataclass(frozen=True)
class Change:
    """A text that occurs once in a file, and its replacement."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """What is removed, and how."""

    what: str
    changes: tuple[Change, ...]


MUTATIONS = (
    Mutation(
        "UNIQUE (licenses.invoice_id)",
        (
            Change(
                "keysat/migrations/versions/0001_initial_schema.py",
                '        sa.UniqueConstraint("invoice_id", name=op.f("uq_licenses_invoice_id")),\n',
                "",
            ),
            Change(
                "keysat/settlement/issue.py",
                "on_conflict_do_nothing(index_elements=[License.invoice_id])",
                "on_conflict_do_nothing()",
            ),
        ),
    ),
    Mutation(
        "UNIQUE (license_extensions.invoice_id)",
        (
            Change(
                "keysat/migrations/versions/0023_renewals.py",
                '        sa.UniqueConstraint("invoice_id", name=op.f("uq_license_extensions_invoice_id")),\n',
                "",
            ),
            Change(
                "keysat/subscriptions/extend.py",
                "on_conflict_do_nothing(index_elements=[LicenseExtension.invoice_id])",
                "on_conflict_do_nothing()",
            ),
            Change("keysat/settlement/renew.py", "    if renewal.fulfilled:\n        return None\n", ""),
        ),
    ),
    Mutation(
        "purpose of a renewal",
        (
            Change(
                "keysat/models/invoice.py",
                "return Purpose.PURCHASE if self.target_license_id is None else Purpose.RENEWAL",
                "return Purpose.PURCHASE",
            ),
        ),
    ),
    Mutation(
        "taking back the period of a renewal whose payment went back",
        (Change("keysat/settlement/reverse.py", "    shorten(session, invoice_id, why, actor)", "    pass"),),
    ),
    Mutation(
        "stopping the grace period while nobody could pay",
        (
            Change(
                "keysat/sales/outages.py",
                "    return 0 if stopped is None else _credit(session, before, now, stopped)\n",
                "    return 0\n",
            ),
        ),
    ),
    Mutation(
        "compare-and-set of the status",
        (
            Change(
                "keysat/settlement/apply.py",
                "same = (Invoice.status == check.status, Invoice.rest_paid == check.rest_paid)",
                "same = (Invoice.rest_paid == check.rest_paid,)",
            ),
        ),
    ),
    Mutation("asking again after a webhook", (Change("keysat/tasks/tasks.py", _REFETCH, _BELIEVE + _REFETCH),)),
    Mutation(
        "check of the amount",
        (
            Change(
                "keysat/settlement/decision.py",
                "    if received is None or received.amount < known.price.less_basis_points(rules.tolerance_bps):",
                "    if received is None:",
            ),
        ),
    ),
    Mutation(
        "pushing claimed rows forward",
        (
            Change("keysat/queue/claim.py", "        .values({due: until, ", "        .values({due: due, "),
            Change(
                "keysat/queue/claim.py", 'extract("epoch", due - func.now())', 'extract("epoch", until - func.now())'
            ),
        ),
    ),
    Mutation(
        "scan for settled invoices without a license",
        (
            Change(
                "keysat/tasks/tasks.py",
                "    licenses = fan_out(DATABASE, issue_license, claim_unfulfilled, room, release_invoices)\n",
                "    licenses = 0\n",
            ),
        ),
    ),
    Mutation(
        "sending after the commit: nothing is sent",
        (
            Change(
                "keysat/tasks/tasks.py",
                "    if result.license_due:\n        send(DATABASE, issue_license, [Claim(wanted",
                "    if False:\n        send(DATABASE, issue_license, [Claim(wanted",
            ),
            Change(
                "keysat/tasks/tasks.py",
                "    if result is not None and result.license_due:\n",
                "    if False:\n",
            ),
        ),
    ),
    Mutation(
        "sending after the commit: sent within the transaction",
        (Change("keysat/settlement/reconcile.py", _APPLIED, _APPLIED + _SEND_WITHIN),),
    ),
    Mutation(
        "holding the tips that are older than a restore",
        (
            Change(
                "keysat/tips/authorize.py",
                "    return bool(tip.epoch < session.execute(current_epoch()).scalar_one())\n",
                "    return False\n",
            ),
        ),
    ),
)

# The bars, the quickest first. The first that fails catches the mutation.
BARS = {
    "interleavings": ("-m", "tests.faults", "--short", "--only", "interleavings", "--seed", "1"),
    "webhook to license without a scan": (
        "-m",
        "pytest",
        "-q",
        "tests/stories/test_webhooks.py",
        "-k",
        "without_any_scan",
    ),
    "duplicates and stale messages": ("-m", "pytest", "-q", "tests/stories/test_lost_webhook.py"),
    "outages": ("-m", "pytest", "-q", "tests/sales/test_outages.py"),
    "restore": ("-m", "tests.faults", "--short", "--only", "restore", "--seed", "1"),
}


def main() -> int:
    """Check that all bars pass without a mutation, then try all mutations."""
    parser = argparse.ArgumentParser(prog="tests.faults.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="a part of the mutation's name")
    only = parser.parse_args().only
    held = _caught_by(Mutation("nothing", ()))
    print(f"nothing taken away: {'all bars hold' if held is None else f'FAIL, {held} fails'}", flush=True)
    survived = held is not None
    for mutation in MUTATIONS:
        if only is None or only in mutation.what:
            watch = Stopwatch()
            bar = _caught_by(mutation)
            survived = survived or bar is None
            print(f"{mutation.what}: {bar or 'FAIL, nobody noticed'} ({watch.seconds:.0f} s)", flush=True)
    return 1 if survived else 0


def _caught_by(mutation: Mutation) -> str | None:
    """The first bar that fails in a copy of the project with the mutation."""
    with tempfile.TemporaryDirectory(prefix="keysat-mutated-") as folder:
        for name in _COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, Path(folder, name))
        for change in mutation.changes:
            _apply(change, Path(folder))
        for bar, arguments in BARS.items():
            environment = {**os.environ, "PYTHONPATH": folder}
            ended = subprocess.run(
                [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=False
            )
            if ended.returncode != 0:
                return f"{bar} ({_reason(ended.stdout.decode(errors='replace'))})"
    return None


def _apply(change: Change, folder: Path) -> None:
    file = folder / change.file
    source = file.read_text()
    if source.count(change.old) != 1:
        sys.exit(f"{change.file} has changed; bring the mutation up to date:\n{change.old}")
    file.write_text(source.replace(change.old, change.new))


def _reason(output: str) -> str:
    """Return the first line about the failure."""
    lines = [line.strip() for line in output.splitlines()]
    found = [line.removeprefix("FAIL").strip() for line in lines if line.startswith(("FAIL  ", "E   ", "FAILED"))]
    return next((line for line in found if "recovered" not in line and "interleavings" not in line), "no answer")[:90]


if __name__ == "__main__":
    sys.exit(main())
