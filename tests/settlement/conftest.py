"""A purchase that was paid too little, and its rest."""

import pytest

from tests.builders import check_invoice, issue_now, load_invoice, make_invoice
from tests.rests import PART, REST, open_rest, say


@pytest.fixture
def short(fake):
    """An invoice that expired with a part of its price."""
    return say(fake, make_invoice(), "expired", "partial", PART)


@pytest.fixture
def paid_rest(fake, short, signer):
    """The rest of the short invoice, paid and credited. The first one is not checked since."""
    rest = say(fake, open_rest(short.id), "settled", paid=REST)
    issue_now(rest.id, signer.key_id)
    return load_invoice(rest.id)


@pytest.fixture
def completed(fake, short, paid_rest, signer):
    """The short invoice, licensed after its rest was paid."""
    check_invoice(short.id)
    issue_now(short.id, signer.key_id)
    return load_invoice(short.id)
