"""Requests to a Lightning Address: no response makes a packet reach an address that isn't public."""

import json

import pytest

from keysat.core.errors import InvalidInput, KeysatError, RemoteResponseInvalid, RemoteUnavailable
from keysat.net.addresses import Networks
from keysat.net.lightning_address import parse_address
from keysat.net.untrusted import AddressRefused, UntrustedClient, UntrustedResponse
from keysat.tips.lnurl import RecipientRefused, ask_for_invoice
from tests.net.test_untrusted import DISGUISED, HOSTILE, Listener

ADDRESS = parse_address("dev@example.com")
OFFER = {"tag": "payRequest", "callback": "https://example.com/pay", "minSendable": 1_000, "maxSendable": 10**9}
OFFER["metadata"] = '[["text/plain","a tip"]]'
HOSTS = [*DISGUISED, *(f"[{host}]" if ":" in host else host for host in HOSTILE if "%" not in host)]


class Public:
    """The recipient's public server, with any response. Every other call is real."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []
        self.guarded = UntrustedClient(Networks(), deadline=1, max_bytes=65_536)

    def request(self, method, url, **options):
        self.asked.append(url)
        if not url.startswith("https://example.com/"):
            return self.guarded.request(method, url, **options)
        body = self.answers.pop(0)
        status, body = body if isinstance(body, tuple) else (200, body)
        return UntrustedResponse(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), False)


@pytest.fixture
def listener():
    server = Listener()
    yield server
    server.close()


def test_callback_reaches_no_private_listener(listener):
    assert len(set(HOSTS)) >= 60
    for host in HOSTS:
        for scheme in ("http", "https"):
            client = Public({**OFFER, "callback": f"{scheme}://{host}:{listener.port}/pay"})
            with pytest.raises((AddressRefused, InvalidInput, RemoteUnavailable)):
                ask_for_invoice(client, ADDRESS, 5_000)
    assert listener.connections == 0


def test_amount_is_added_to_the_callback_and_the_invoice_returned():
    client = Public({**OFFER, "callback": "https://example.com/pay?user=7"}, {"pr": "lnbc1"})
    assert ask_for_invoice(client, ADDRESS, 5_000).bolt11 == "lnbc1"
    assert client.asked == ["https://example.com/.well-known/lnurlp/dev", "https://example.com/pay?user=7&amount=5000"]


def test_amount_is_added_before_the_callbacks_fragment():
    client = Public({**OFFER, "callback": "https://example.com/pay#top"}, {"pr": " lnbc1\n"})
    assert ask_for_invoice(client, ADDRESS, 5_000).bolt11 == "lnbc1"
    assert client.asked[1] == "https://example.com/pay?amount=5000"


@pytest.mark.parametrize("answers", [[(400, {})], [(404, {})], [(500, {})], [OFFER, (400, {})]])
@pytest.mark.parametrize("status", ["ERROR", "error"])
def test_reason_is_shown_for_every_http_status(answers, status):
    *before, (code, _) = answers
    refusal = {"status": status, "reason": "no such\x1b[31m user\u202e"}
    with pytest.raises(RecipientRefused, match="says: no such\N{REPLACEMENT CHARACTER}") as refused:
        ask_for_invoice(Public(*before, (code, refusal)), ADDRESS, 5_000)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["dev+tips", "dev+tips+more", "DEV+Tips", "a_b.c-d+1"])
def test_name_may_have_a_tag(name):
    assert parse_address(f"{name}@Example.com").url == f"https://example.com/.well-known/lnurlp/{name.lower()}"


@pytest.mark.parametrize("name", ["+tips", "dev+", "dev++tips", "d ev", "dev%2b", "a" * 65])
def test_name_that_is_none_is_refused(name):
    with pytest.raises(InvalidInput):
        parse_address(f"{name}@example.com")


@pytest.mark.parametrize(
    "offer",
    [
        {"tag": "withdrawRequest"},
        {"callback": None},
        {"callback": 7},
        {"metadata": None},
        {"minSendable": "1"},
        {"maxSendable": 1.5},
        {"maxSendable": True},
    ],
)
def test_offer_of_another_shape_is_refused(offer):
    with pytest.raises(RemoteResponseInvalid):
        ask_for_invoice(Public({**OFFER, **offer}), ADDRESS, 5_000)


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff\xfe"])
def test_answer_that_is_no_offer_is_refused_in_a_sentence(body):
    with pytest.raises(KeysatError, match=r"\.$"):
        ask_for_invoice(Public(body), ADDRESS, 5_000)


@pytest.mark.parametrize("amount", [999, 10**9 + 1])
def test_amount_out_of_its_bounds_is_not_asked_for(amount):
    client = Public(OFFER)
    with pytest.raises(RecipientRefused, match="takes 1,000 to 1,000,000,000 msat"):
        ask_for_invoice(client, ADDRESS, amount)
    assert len(client.asked) == 1


@pytest.mark.parametrize("answer", [{}, {"pr": None}, {"pr": 5}])
def test_missing_invoice_is_refused(answer):
    with pytest.raises(RemoteResponseInvalid, match="sent no invoice"):
        ask_for_invoice(Public(OFFER, answer), ADDRESS, 5_000)
