"""Licenses are found by product, status, invoice and buyer, alike for the command line and the API."""

import pytest
from sqlalchemy import func

from keysat.core.db import reading
from keysat.core.errors import NotFound
from keysat.licenses.state import require_license
from keysat.models import Invoice
from keysat.models.holders import license_of_invoice
from keysat.models.license import LicenseStatus
from keysat.operations.search import LicenseSearch, find_licenses, require_invoice
from tests.builders import issue_now, make_invoice, make_license, set_columns

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def found(limit=10, **criteria):
    with reading() as session:
        return [(row.id, product) for row, product in find_licenses(session, LicenseSearch(**criteria), limit)]


def test_licenses_are_found_by_each_criterion(signer):
    sale = make_invoice(status="settled", settled_at=func.now())
    bought = (issue_now(sale.id, signer.key_id), "editor")
    granted = (make_license("viewer", status="suspended").id, "viewer")
    assert found() == [granted, bought]
    assert found(product="viewer") == found(status=LicenseStatus.SUSPENDED) == [granted]
    assert found(invoice_id=sale.id) == found(email="BUYER@example.com") == found(before=granted[0]) == [bought]
    assert found(limit=1) == [granted]
    assert found(product="viewer", email="buyer@example.com") == []


def test_license_is_required_by_its_id_and_found_by_its_invoice(signer):
    sale = make_invoice(status="settled", settled_at=func.now())
    with reading() as session:
        assert license_of_invoice(session, session.get_one(Invoice, sale.id)) is None
        with pytest.raises(NotFound):
            require_license(session, sale.id)
    license_id = issue_now(sale.id, signer.key_id)
    with reading() as session:
        assert (
            license_of_invoice(session, session.get_one(Invoice, sale.id)).id
            == require_license(session, license_id).id
            == license_id
        )


def test_invoice_is_found_by_its_own_id_alone_where_an_id_is_given():
    """A provider may choose ids that look like ours."""
    ours, second = make_invoice(), make_invoice()
    set_columns(second.id, provider_invoice_id=str(ours.provider_account_id))
    with reading() as session:
        assert require_invoice(session, ours.id).id == ours.id
        assert require_invoice(session, str(ours.provider_account_id)).id == second.id
        with pytest.raises(NotFound):
            require_invoice(session, ours.provider_account_id)
