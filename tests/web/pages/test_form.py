"""What a sent form does, and what it says about its fields, over HTTP."""

import pytest
from sqlalchemy import func, select

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.models import Invoice
from keysat.models.discount_code import CodeKind
from tests.web.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


def count_invoices():
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Invoice))


@pytest.mark.parametrize("policy", ["none-such", "NO SLUG"])
def test_code_is_checked_beside_a_wrong_policy(buy, policy):
    with transaction() as session:
        add_code(session, NewCode("SPRING", CodeKind.PERCENT, 2_500), actor="cli")
    wrong = text_of(buy(policy=policy, code="WINTER"))
    assert "There is no such code." in wrong
    assert "is applied" not in wrong
    right = text_of(buy(policy=policy, code="spring"))
    assert "Choose one of the licenses below." in right
    assert "Code spring is applied." in right
    assert "15,750" in right


@pytest.mark.parametrize(
    "body",
    [
        "",
        "policy=standard",
        "policy=standard&do=else",
        "do=buy",
        "do=buy&policy=",
        "policy=standard&do=buy" + "&more=1" * 30,
        '{"policy": "standard", "do": "buy"}',
        b"\xff\xfe\x00",
    ],
)
def test_unreadable_form_buys_nothing(browser, body):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = browser.session.post(browser.at("/buy/editor"), data=body, headers=form, timeout=60, allow_redirects=False)
    assert sent.status_code == 400
    assert "arrive as it should" in text_of(sent) or "Choose one of the licenses below." in text_of(sent)
    assert count_invoices() == 0
