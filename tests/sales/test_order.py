"""A buyer's address is one that mail can be addressed to, or it is refused while the buyer is there."""

import pytest

from keysat.core.errors import InvalidInput
from keysat.sales.order import Order


@pytest.mark.parametrize("email", ["a,b@example.com", "buyer@-.com", "a@b.c..d", "two@@example.com", "a@example.com."])
def test_address_without_a_mailbox_is_refused(email):
    with pytest.raises(InvalidInput):
        Order("editor", buyer_email=email).check()


@pytest.mark.parametrize("email", ["buyer@example.com", "käufer@bücher.example", "a.b+c@sub.example.co.uk"])
def test_address_of_a_mailbox_is_taken(email):
    Order("editor", buyer_email=email).check()
