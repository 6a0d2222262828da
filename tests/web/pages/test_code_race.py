"""Forty buyers race for the last slots of a code, on the page and through the API, at several web servers."""

import socket
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import select

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.embedded.commands import child_environment
from keysat.models import DiscountCode, Invoice, Redemption
from keysat.models.discount_code import CodeKind
from tests.nodes import ProcessContainer
from tests.web.conftest import Api
from tests.web.pages.conftest import Browser, form_key, text_of

SERVERS, BUYERS, SLOTS, USED_BEFORE = 3, 40, 10, 2


@pytest.fixture
def web_urls(settings, empty_broker):
    """Several `keysat web`, each a process of its own. Returns their URLs."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(SERVERS)]
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    started = []
    try:
        for port in ports:
            environment = {**child_environment(settings), "KEYSAT_WEB_PORT": port}
            started.append(ProcessContainer([sys.executable, "-m", "keysat", "web"], "Keysat listens at", environment))
        assert all(process.ready() for process in started)
        yield [f"http://127.0.0.1:{port}" for port in ports]
    finally:
        for process in started:
            process.teardown()


def until_there_is_room(send):
    """Send a request again while a server has no place for it, as its response asks for."""
    while (answer := send()).status_code == 503:
        assert answer.headers["Retry-After"]
    return answer


def buy_on_the_page(url, start):
    """Returns whether the buyer got the code's price."""
    with closing(Browser(url)) as browser:
        typed = {"key": form_key(browser.get("/buy/editor")), "policy": "standard", "code": "last", "do": "buy"}
        start.wait(timeout=300)
        answer = until_there_is_room(lambda: browser.post("/buy/editor", **typed))
    if answer.status_code == 303:
        return True
    assert (answer.status_code, "This code is used up." in text_of(answer)) == (400, True)
    return False


def buy_by_the_api(url, start, buyer=0):
    """Returns whether the buyer got the code's price."""
    with closing(Api(url)) as api:
        start.wait(timeout=300)
        wanted, key = {"product": "editor", "code": "LAST"}, {"Idempotency-Key": f"buyer-{buyer}"}
        answer = until_there_is_room(lambda: api.post("/v1/purchase", wanted, headers=key))
    if answer.status_code == 200:
        return answer.json()["discount_applied_sats"] == 2_100
    assert (answer.status_code, answer.json()["message"]) == (409, "code LAST is used up.")
    return False


def test_last_slots_are_sold_once(shop, web_urls):
    code = NewCode("LAST", CodeKind.PERCENT, 1_000, max_uses=USED_BEFORE + SLOTS)
    with transaction() as session:
        add_code(session, code, actor="cli")
    alone = threading.Barrier(1)
    assert all(buy_by_the_api(web_urls[0], alone, f"before-{number}") for number in range(USED_BEFORE))
    start = threading.Barrier(BUYERS)
    with ThreadPoolExecutor(BUYERS) as buyers:
        sent = [
            buyers.submit(buy_by_the_api, web_urls[number % SERVERS], start, number)
            if number % 2
            else buyers.submit(buy_on_the_page, web_urls[number % SERVERS], start)
            for number in range(BUYERS)
        ]
        won = [purchase.result() for purchase in sent]
    assert Counter(won) == {True: SLOTS, False: BUYERS - SLOTS}
    with reading() as session:
        assert session.scalars(select(DiscountCode.uses)).one() == USED_BEFORE + SLOTS
        held = session.scalars(select(Redemption.status)).all()
        amounts = session.scalars(select(Invoice.amount)).all()
    assert Counter(held) == {"reserved": USED_BEFORE + SLOTS}
    assert Counter(amounts) == {18_900: USED_BEFORE + SLOTS}  # the losers left nothing, and nobody else got the price
    assert len(shop.ledger()["invoices"]) == USED_BEFORE + SLOTS
