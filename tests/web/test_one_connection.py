"""A request takes one connection to the database at a time, so that waiting for a second one blocks no other."""

import threading
from collections import Counter

import pytest
from sqlalchemy import event

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import engine, transaction
from keysat.models.api_key import Scope
from keysat.models.discount_code import CodeKind
from keysat.operations.api_keys import create_key
from keysat.operations.why import State
from keysat.sales.recover import make_link
from keysat.web.pages.passes import pass_of_holder
from keysat.web.state import signer as installed
from keysat.web.tokens import page_of
from tests.builders import load_licenses
from tests.mail.letters import BUYER, license_sold
from tests.web.pages.conftest import Browser
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop")


class Held:
    """Counts the connections that each thread holds. `most` is the highest count of one thread."""

    def __init__(self):
        self.most, self._held = 0, Counter()

    def taken(self, *_):
        thread = threading.get_ident()
        self._held[thread] += 1
        self.most = max(self.most, self._held[thread])

    def given_back(self, *_):
        self._held[threading.get_ident()] -= 1


@pytest.fixture
def held():
    counted, pool = Held(), engine().pool
    event.listen(pool, "checkout", counted.taken)
    event.listen(pool, "checkin", counted.given_back)
    yield counted
    event.remove(pool, "checkout", counted.taken)
    event.remove(pool, "checkin", counted.given_back)


def link():
    with transaction() as session:
        return make_link(session, BUYER, "cli").secret


def key_of_admin():
    with transaction() as session:
        return {"Authorization": f"Bearer {create_key(session, 'shop', Scope.WRITE, actor='cli')}"}


def add_gift():
    with transaction() as session:
        add_code(session, NewCode("GIFT", CodeKind.FREE_LICENSE, max_uses=None), actor="cli")


def own_path(invoice_id):
    return f"/p/{page_of(invoice_id).rpartition('/')[2]}"


# Requests by name: the path, and the form or the body.
FORMS = {
    "key": lambda sold: ("/me", {"key": sold.key}),
    "pass": lambda sold: ("/me", {"pass": pass_of_holder(BUYER), "license": sold.license_id, "do": "receipt"}),
    "reference": lambda sold: ("/recover", {"email": BUYER, "reference": sold.invoice_id}),
    "link": lambda sold: (f"/recover/{link()}", {}),
    "check": lambda sold: (f"{own_path(sold.invoice_id)}/check", {}),
    "rest": lambda sold: (f"{own_path(make_purchase(State.SHORT))}/rest", {}),
    "buy": lambda sold: ("/buy/editor", {"policy": "standard", "do": "buy", "key": "a" * 32}),
}
BODIES = {
    "recover": lambda sold: ("/v1/recover", {"invoice_id": str(sold.invoice_id), "email": BUYER}),
    "recover by link": lambda sold: ("/v1/recover/link", {"secret": link()}),
    "purchase": lambda sold: ("/v1/purchase", {"product": "editor"}),
    "redeem": lambda sold: ("/v1/redeem", {"product": "editor", "code": "GIFT"}),
    "validate": lambda sold: ("/v1/validate", {"key": sold.key, "product_slug": "editor"}),
    "machines": lambda sold: ("/v1/machines/list", {"key": sold.key}),
    "grant": lambda sold: ("/v1/admin/licenses", {"product": "editor", "note": "a friend"}),
    "settle": lambda sold: (f"/v1/admin/invoices/{make_purchase(State.SHORT)}/settle", {"note": "paid in cash"}),
}


class Sold:
    """A license that was bought, and its key."""

    def __init__(self, signer):
        self.invoice_id, self.license_id = license_sold(signer)
        self.key = signer.key_for(load_licenses(self.invoice_id)[0])


def test_requests_take_one_connection_at_a_time(web_url, signer, held):
    """Also the first one of a process, which checks the signing key."""
    sold, headers, browser, most = Sold(signer), key_of_admin(), Browser(web_url), {}
    add_gift()
    for name, request in (FORMS | BODIES).items():
        path, fields = request(sold)
        sent = {"data": fields} if name in FORMS else {"json": fields, "headers": headers}
        installed.cache_clear()
        held.most = 0
        answer = browser.session.post(browser.at(path), timeout=120, allow_redirects=False, **sent)
        assert answer.status_code < 400, (name, answer.text)
        most[name] = held.most
    browser.close()
    assert most == dict.fromkeys(most, 1)
