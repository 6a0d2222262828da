"""Granting by hand: a license with its policy's terms, no invoice, and a reason in the audit log."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput, NotFound
from keysat.core.hints import Hint
from keysat.licenses.keys import verify
from keysat.models import AuditLine, Product
from keysat.sales.grant import grant
from tests.builders import load_licenses, make_catalog

TERMS = Terms(
    duration_seconds=3_600, grace_seconds=60, max_machines=3, is_trial=True, entitlements=("export", "import")
)

pytestmark = pytest.mark.usefixtures("empty_database")


def granted(signer, policy=None, note="a friend", product="editor"):
    with transaction() as session:
        return grant(session, product, policy, note, signer.key_id, "cli")


def test_license_has_the_terms_of_its_policy_and_no_invoice(signer):
    make_catalog(terms=TERMS)
    row = granted(signer)
    [stored] = load_licenses()
    assert (stored.id, stored.invoice_id, stored.source, stored.status) == (row.id, None, "manual", "active")
    assert stored.expires_at - stored.issued_at == timedelta(seconds=3_600)
    assert (stored.grace_seconds, stored.max_machines, stored.is_trial) == (60, 3, True)
    assert stored.entitlements == ["export", "import"]
    assert verify(signer.key_for(row), signer.public_key).license_id == row.id


def test_policy_is_chosen_by_its_slug(signer):
    make_catalog()
    with transaction() as session:
        add_policy(session, "editor", "team", "Team", Terms(max_machines=9), actor="cli")
    assert (granted(signer).max_machines, granted(signer, "team").max_machines) == (1, 9)


def test_reason_is_in_the_audit_log(signer):
    make_catalog()
    row = granted(signer, note="prize draw")
    with reading() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.subject_id == row.id)).one()
    assert (line.actor, line.action) == ("cli", "license.issued")
    assert line.detail == {"policy": "standard", "note": "prize draw"}


@pytest.mark.parametrize("note", ["", " \n"])
def test_grant_needs_its_reason(signer, note):
    make_catalog()
    with pytest.raises(InvalidInput, match="say why"):
        granted(signer, note=note)
    assert load_licenses() == []


def test_unknown_product_or_policy_is_refused(signer):
    make_catalog()
    with pytest.raises(NotFound, match="no policy team"):
        granted(signer, "team")
    with pytest.raises(NotFound, match="no product viewer"):
        granted(signer, product="viewer")


def test_archived_product_is_granted_no_more(signer):
    make_catalog()
    with transaction() as session:
        session.execute(update(Product).values(archived_at=func.now()))
    with pytest.raises(NotFound) as refusal:
        granted(signer)
    assert refusal.value.hint is Hint.UNARCHIVE_PRODUCT
