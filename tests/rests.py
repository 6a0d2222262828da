"""Short payments and their rests, for the tests: what the provider reports, and a purchase paid in parts."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from keysat.core.db import DATABASE
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus
from keysat.sales.rest import pay_rest
from tests.builders import PRICE, check_invoice, issue_now, load_invoice, make_invoice

PART = 10_000
REST = PRICE - PART
PART_OF_REST = 5_000


def page_of(invoice_id):
    return f"https://shop.example.com/p/{invoice_id}"


def say(fake, invoice, status, exception="none", paid=None, rules=None):
    """Let the provider report a status, then check. Returns the invoice afterwards."""
    fake.say(invoice.provider_invoice_id, ProviderStatus(status), PaymentException(exception), paid)
    check_invoice(invoice.id, rules)
    return load_invoice(invoice.id)


def open_rest(invoice_id):
    return load_invoice(pay_rest(DATABASE, invoice_id, "page", page_of))


def check_and_issue(invoice, signer):
    check_invoice(invoice.id)
    issue_now(invoice.id, signer.key_id)


def pay_twice(fake, short, signer):
    """Pay the price of a short purchase, and then its open rest. Returns the rest, which nobody needs."""
    rest = open_rest(short.id)
    say(fake, short, "settled", paid=PRICE)
    issue_now(short.id, signer.key_id)
    rest = say(fake, rest, "settled", paid=REST)
    issue_now(rest.id, signer.key_id)
    return load_invoice(rest.id)


def buy_in_three_parts(fake, signer):
    """A short purchase whose rest was short, too. Returns it, its rest, and the rest of that, all paid and settled."""
    first = say(fake, make_invoice(), "expired", "partial", PART)
    second = say(fake, open_rest(first.id), "expired", "partial", PART_OF_REST)
    third = say(fake, open_rest(second.id), "settled", paid=REST - PART_OF_REST)
    for invoice in (third, second, first):
        check_and_issue(invoice, signer)
    return [load_invoice(invoice.id) for invoice in (first, second, third)]


def at_once(*steps):
    """Take these steps at once, each in a thread of its own. Raises what any of them raises."""
    start = Barrier(len(steps))

    def take(step):
        start.wait(timeout=60)
        step()

    with ThreadPoolExecutor(len(steps)) as pool:
        for done in [pool.submit(take, step) for step in steps]:
            done.result(timeout=60)
