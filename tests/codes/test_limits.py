"""A code for some policies, and one that each buyer may use so often."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.codes.edit import change_code
from keysat.codes.manage import NewCode, add_code
from keysat.codes.pricing import NotApplicable
from keysat.codes.reserve import BuyerUnknown, CodeUsedByBuyer
from keysat.core.db import reading, transaction
from keysat.core.errors import Conflict, InvalidInput, NotFound
from keysat.models import DiscountCode, Invoice, Redemption
from keysat.models.discount_code import CodeKind
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus
from keysat.sales.purchase import Order
from tests.builders import audit_actions, check_invoice, issue_now, load_invoice, open_invoice
from tests.races import race

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")

RACERS = 12


def add(code="ONCE", **facts):
    with transaction() as session:
        return add_code(session, NewCode(code, CodeKind.PERCENT, 5_000, **facts), actor="cli")


def edit(code="once", **changes):
    with transaction() as session:
        return change_code(session, code, changes, actor="cli")


def buy(email, code="once", policy=None):
    return load_invoice(open_invoice(Order("editor", policy, code, buyer_email=email)))


def say(shop, invoice, status, exception=PaymentException.NONE, paid=None):
    shop.say(invoice.provider_invoice_id, status, exception, paid)
    check_invoice(invoice.id)


def status_of(invoice):
    with reading() as session:
        return session.scalar(select(Redemption.status).where(Redemption.invoice_id == invoice.id))


@pytest.fixture
def editor(fake_shop):
    with transaction() as session:
        return add_policy(session, "editor", "pro", "Pro", Terms(), actor="cli").product_id


def test_code_for_one_policy_is_refused_for_another(editor):
    add(product_id=editor, policies=("pro",))
    with pytest.raises(NotApplicable, match=r"^code ONCE is for another policy of the product\.$"):
        buy(None)
    assert buy(None, policy="pro").amount == 10_500


def test_policies_of_a_code_need_its_product(editor):
    with pytest.raises(InvalidInput, match="must be for one product"):
        add(policies=("pro",))
    with pytest.raises(NotFound, match="no policy nothing"):
        add(product_id=editor, policies=("nothing",))


@pytest.mark.parametrize(
    "same", ["buyer@example.com", "Buyer@Example.COM", "buyer+again@example.com", "buyer+@EXAMPLE.com"]
)
def test_buyer_uses_a_code_as_often_as_allowed(fake_shop, same):
    add(max_uses_per_buyer=1)
    buy("buyer@example.com")
    asked = fake_shop.requests
    with pytest.raises(CodeUsedByBuyer, match=r"^each buyer can use code ONCE once, and this buyer did\.$"):
        buy(same)
    assert fake_shop.requests == asked
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == 1
        assert session.scalar(select(DiscountCode.uses)) == 1
    buy("other@example.com")


def test_order_without_an_address_is_refused():
    add(max_uses_per_buyer=1)
    with pytest.raises(BuyerUnknown, match="limited for each buyer; give the buyer's e-mail address"):
        buy(None)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == 0


def test_freed_slot_is_the_buyers_again_until_it_is_taken(fake_shop, signer):
    add(max_uses_per_buyer=1)
    late = buy("buyer@example.com")
    say(fake_shop, late, ProviderStatus.EXPIRED)
    second = buy("buyer@example.com")
    say(fake_shop, late, ProviderStatus.EXPIRED, PaymentException.LATE, paid=10_500)
    issue_now(late.id, signer.key_id)
    assert (status_of(late), status_of(second)) == ("excess", "reserved")
    with reading() as session:
        assert session.scalar(select(DiscountCode.uses)) == 1


def test_earlier_uses_count_once_a_code_is_limited():
    add()
    buy("buyer@example.com")
    edit(max_uses_per_buyer=1)
    with pytest.raises(CodeUsedByBuyer):
        buy("buyer@example.com")


def test_buyer_who_races_with_himself_gets_what_is_allowed():
    add(max_uses_per_buyer=2)

    def attempt(_, number):
        try:
            buy(f"buyer+{number}@example.com")
        except CodeUsedByBuyer:
            return 0
        return 1

    results, surprises = race(1, attempt, RACERS)
    assert not surprises, surprises
    assert sum(results) == 2
    with reading() as session:
        assert session.scalar(select(DiscountCode.uses)) == 2
        assert session.scalar(select(func.count()).select_from(Redemption)) == 2


def test_change_has_its_line_in_the_audit_log_and_keeps_the_rest(editor):
    code = add(product_id=editor, max_uses=5)
    changed = edit(max_uses=None, policies=["pro"], featured=True, description="for spring")
    assert (changed.max_uses, len(changed.policy_ids), changed.featured) == (None, 1, True)
    assert (changed.kind, changed.amount, changed.product_id) == (code.kind, code.amount, editor)
    assert edit(policies=[]).policy_ids == []
    assert audit_actions(code.id) == ["code.added", "code.changed", "code.changed"]


def test_number_of_uses_is_not_less_than_those_taken():
    add()
    buy("a@example.com")
    buy("b@example.com")
    with pytest.raises(Conflict, match="2 uses of code ONCE are taken"):
        edit(max_uses=1)
    assert edit(max_uses=2).used_up


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"amount": 1}, "amount can't be changed"),
        ({"kind": "free_license"}, "kind can't be changed"),
        ({"max_uses": 0}, "the number of uses must be 1 to"),
        ({"max_uses_per_buyer": 0}, "the number of uses of each buyer must be 1 to"),
        ({"policies": ["pro"]}, "must be for one product"),
    ],
)
def test_change_that_makes_no_sense_is_refused(changes, why):
    add()
    with pytest.raises(InvalidInput, match=why):
        edit(**changes)


def test_no_statement_gives_a_code_of_all_products_policies():
    add()
    with pytest.raises(Conflict, match="contradicts what is stored"), transaction() as session:
        session.execute(update(DiscountCode).values(policy_ids=[uuid4()]))
