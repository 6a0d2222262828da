"""`keysat machine`, and `keysat license issue`: what an operator does by hand for a buyer."""

from uuid import uuid4

import pytest

from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE
from keysat.licenses.keys import verify
from keysat.licenses.machines import activate
from keysat.licenses.seats import Caller
from tests.builders import audit_actions, load_licenses, load_machines, make_catalog, make_license

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def machine(signer):
    """A machine that is in use."""
    row = make_license()
    read_key = lambda text: verify(text, signer.public_key)  # noqa: E731
    activate(DATABASE, read_key, signer.key_for(row), Caller.of("laptop", "lena", "linux"))
    return load_machines(row.id)[0]


def test_machines_of_a_license_are_listed(keysat, machine):
    [row] = keysat("machine", "list", machine.license_id, "--json").json
    assert row == {
        "id": str(machine.id),
        "active": True,
        "hostname": "lena",
        "platform": "linux",
        "activated": machine.activated_at.isoformat(),
        "last_seen": machine.last_seen_at.isoformat(),
        "deactivated": None,
        "reason": None,
        "by_holder": False,
    }


def test_machine_is_deactivated_with_a_reason(keysat, machine):
    finished = keysat("machine", "deactivate", machine.id, "--note", "lost laptop")
    assert (finished.code, finished.out) == (0, "")
    [row] = keysat("machine", "list", machine.license_id, "--json").json
    assert (row["active"], row["reason"]) == (False, "lost laptop")
    assert audit_actions(machine.id)[-1] == "machine.deactivated"
    assert "deactivated before" in keysat("machine", "deactivate", machine.id, "--note", "again").refusal


def test_deactivation_needs_its_reason(keysat, machine):
    assert "--note" in keysat("machine", "deactivate", machine.id).usage
    assert load_machines(machine.license_id)[0].deactivated_at is None


def test_unknown_license_or_machine_is_refused(keysat):
    unknown = uuid4()
    assert f"no license {unknown}" in keysat("machine", "list", unknown).refusal
    assert f"no machine {unknown}" in keysat("machine", "deactivate", unknown, "--note", "x").refusal
    assert "valid UUID" in keysat("machine", "list", "nothing").usage


def test_license_is_issued_by_hand_and_printed_with_its_key(keysat, signer):
    make_catalog(terms=Terms(max_machines=3, entitlements=("export",)))
    issued = keysat("license", "issue", "editor", "--policy", "standard", "--note", "a friend", "--json").json
    [row] = load_licenses()
    assert (issued["license_id"], issued["machines"], issued["entitlements"]) == (str(row.id), 3, ["export"])
    assert verify(issued["key"], signer.public_key).license_id == row.id
    assert audit_actions(row.id) == ["license.issued"]


def test_issue_by_hand_needs_its_reason_and_a_product(keysat):
    make_catalog()
    assert "--note" in keysat("license", "issue", "editor").usage
    assert "say why" in keysat("license", "issue", "editor", "--note", " ").refusal
    assert "no product viewer" in keysat("license", "issue", "viewer", "--note", "x").refusal
    assert "no policy team" in keysat("license", "issue", "editor", "--policy", "team", "--note", "x").refusal
    assert load_licenses() == []
