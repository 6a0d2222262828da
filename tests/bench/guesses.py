"""Whether a guess that meets a stored row is told from one that meets none: by its answer, its time, or a limit."""

import http.client
import json
import re
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import uuid4

from sqlalchemy import func, text, update

from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.embedded.commands import child_environment
from keysat.licenses.keys import PREFIX
from keysat.licenses.signer import load_signer
from keysat.models import License, RecoveryLink
from keysat.sales.grant import grant
from keysat.sales.recover import make_link
from tests.bench.bar import Bar
from tests.builders import issue_now, load_licenses, make_account, make_catalog, make_invoice, prove_payment
from tests.canaries import GIVEN
from tests.nodes import ProcessContainer

GUESSES, SOLD, WARM = 500, 20, 20
HTML = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
MAIL = {"KEYSAT_SMTP_URL": "smtp://127.0.0.1:9", "KEYSAT_MAIL_FROM": "Shop <licenses@shop.example>"}
# The amounts of the normal limits, in windows that don't end while they are measured.
LIMITS = {"RECOVER": 10, "VALIDATE": 600}
# What differs between any two answers, and says nothing of what is stored.
OF_THE_MOMENT = {"date", "retry-after", "content-length"}
OF_THE_GUESS = re.compile(rb' value="[^"]*"|\d+ s(?:econds)?\b')


@dataclass(frozen=True)
class Guess:
    """A request. `method` is POST if it has a body."""

    path: str
    headers: dict[str, str]
    body: str | None = None


@dataclass(frozen=True)
class Surface:
    """A place to guess at. The guesses of `near` meet a row, those of `far` meet none. Both get the guess's number."""

    name: str
    near: Callable[[int], Guess]
    far: Callable[[int], Guess]


def time_of_near_hits() -> Bar:
    """How far the median time of guesses that meet a row is from that of those that meet none, to their spread."""
    surfaces, figures, shifts = _surfaces(), [], []
    with _serving({**MAIL}) as connection:
        for surface in surfaces:
            print(f"{GUESSES} guesses of either kind at {surface.name} ...", flush=True)
            near, far, answers = _compare(connection, surface)
            assert len(answers) == 1, f"{surface.name} answers {len(answers)} ways: {answers}"
            medians = statistics.median(near), statistics.median(far)
            low, _, high = statistics.quantiles(far, n=4)
            shifts.append(abs(medians[0] - medians[1]) / (high - low))
            shown = " and ".join(f"{median * 1000:.2f}" for median in medians)
            figures.append(f"{surface.name} {shown} ms, of {(high - low) * 1000:.2f}")
    _forget()
    what = "median time of a guess that meets a row, from that of one that meets none, to the middle half's width"
    return Bar(what, max(shifts), "; ".join(figures), at_most=0.25)


def guesses_admitted() -> Bar:
    """Guesses that were answered, to those that the normal limits admit. The refused ones are all alike."""
    print("the same with the normal limits ...", flush=True)
    rates = {f"KEYSAT_RATE_{what}": f"{limit}/day" for what, limit in LIMITS.items()}
    admitted, refused = dict.fromkeys(LIMITS, 0), set()
    surfaces = _surfaces()
    with _serving({**MAIL, **rates}) as connection:
        for surface in surfaces:
            limit = "VALIDATE" if surface.name.startswith("GET") else "RECOVER"
            for number in range(2 * GUESSES):
                guess = (surface.near, surface.far)[number % 2](number // 2)
                status, answer = _ask(connection, guess)
                if status == http.HTTPStatus.TOO_MANY_REQUESTS:
                    refused.add((surface.name, answer))
                else:
                    admitted[limit] += 1
    _forget()
    assert len(refused) == len(surfaces), "a refusal tells whether the guess was near"
    counted = [f"{admitted[what]} of {limit} at {what.lower()}" for what, limit in LIMITS.items()]
    worst = max(admitted[what] / limit for what, limit in LIMITS.items())
    figures = f"{', '.join(counted)}; {2 * GUESSES} tried at each of {len(surfaces)} places"
    return Bar("guesses admitted, to the limit", worst, figures, at_most=1.0, at_least=1.0)


@contextmanager
def _serving(environment: dict[str, str]):
    """Run a web server of its own. Yields a connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"KEYSAT_WEB_PORT": str(port), "KEYSAT_LOG_LEVEL": "ERROR", **environment}
    command = [sys.executable, "-m", "keysat", "web"]
    web = ProcessContainer(command, "Keysat listens at", {**child_environment(load_settings()), **own})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        web.ready()
        yield connection
    finally:
        connection.close()
        web.teardown()


def _compare(connection, surface: Surface) -> tuple[list[float], list[float], set[tuple[int, bytes]]]:
    """The seconds of each guess of either kind, in turns of which each kind begins half, and the answers."""
    near: list[float] = []
    far: list[float] = []
    answers = set()
    for number in range(-WARM, GUESSES):
        order = [(near, surface.near), (far, surface.far)]
        for seconds, make in order if number % 2 else reversed(order):
            guess = make(number % GUESSES if number >= 0 else GUESSES - number - 1)
            began = time.perf_counter()
            answer = _ask(connection, guess)
            elapsed = time.perf_counter() - began
            if number >= 0:
                seconds.append(elapsed)
                answers.add(answer)
    return near, far, answers


def _ask(connection, guess: Guess) -> tuple[int, bytes]:
    connection.request("GET" if guess.body is None else "POST", guess.path, guess.body, guess.headers)
    answer = connection.getresponse()
    kept = sorted((name, value) for name, value in answer.getheaders() if name.lower() not in OF_THE_MOMENT)
    return answer.status, OF_THE_GUESS.sub(b"", answer.read()) + repr(kept).encode()


def _form(path: str, **fields: str) -> Guess:
    return Guess(path, HTML, urlencode(fields))


def _body(**fields: str) -> Guess:
    return Guess("/v1/recover", JSON, json.dumps(fields))


def _surfaces() -> list[Surface]:
    sold, keys, used = _sold()
    forged, wrong = [_forged(key) for key in keys], "0" * 64

    def own(number: int) -> str:
        return sold[number % SOLD]

    def holder(number: int) -> str:
        return f"holder-{number:04}@example.com"

    def nobody(number: int) -> str:
        return f"nobody-{number:04}@example.com"

    def other(_: int) -> str:
        return str(uuid4())

    def recover(email, reference) -> Callable[[int], Guess]:
        return lambda number: _form("/recover", email=email(number), reference=reference(number))

    def api(email, reference) -> Callable[[int], Guess]:
        return lambda number: _body(invoice_id=reference(number), email=email(number))

    def mail(email) -> Callable[[int], Guess]:
        return lambda number: _form("/recover", email=email(number))

    def paid(reference) -> Callable[[int], Guess]:
        return lambda number: _body(invoice_id=reference(number), preimage=wrong)

    def page(reference) -> Callable[[int], Guess]:
        return lambda number: Guess(f"/p/{reference(number)}.{'A' * 43}", HTML)

    return [
        Surface("/recover by mail", mail(holder), mail(nobody)),
        Surface("/recover of a purchase", recover(nobody, own), recover(nobody, other)),
        Surface("/recover of an address", recover(holder, other), recover(nobody, other)),
        Surface(
            "/recover/{secret}", lambda n: _form(f"/recover/{used[n % SOLD]}"), lambda n: _form(f"/recover/{n:043}")
        ),
        Surface("/v1/recover of a purchase", api(nobody, own), api(nobody, other)),
        Surface("/v1/recover of an address", api(holder, other), api(nobody, other)),
        Surface("/v1/recover of a payment", paid(own), paid(other)),
        Surface("GET /p/{secret}", page(own), page(other)),
        Surface(
            "/me", lambda n: _form("/me", key=forged[n % SOLD]), lambda n: _form("/me", key=forged[SOLD + n % SOLD])
        ),
    ]


def _sold() -> tuple[list[str], list[str], list[str]]:
    """Purchases with licenses and payments, the keys of these licenses and of some that are gone, and used links.

    Besides, each holder has a license.
    """
    make_account("guessed")
    make_catalog("guessed")
    signer = load_signer(load_settings().signing_key_file)
    sold = [make_invoice("guessed", "guessed", status="settled", settled_at=func.now()) for _ in range(SOLD)]
    for invoice in sold:
        issue_now(invoice.id, signer.key_id)
        prove_payment(invoice.id, GIVEN["a buyer's preimage"])
    with transaction() as session:
        held = [grant(session, "guessed", None, "benchmark", signer.key_id, "bench") for _ in range(GUESSES + WARM)]
        for number, row in enumerate(held):
            session.execute(
                update(License).where(License.id == row.id).values(holder_email=f"holder-{number:04}@example.com")
            )
        gone = [grant(session, "guessed", None, "benchmark", signer.key_id, "bench") for _ in range(SOLD)]
        keys = [signer.key_for(row) for row in gone]
        for row in gone:
            session.delete(row)
    with transaction() as session:
        used = [make_link(session, f"holder-{number:04}@example.com", "bench").secret for number in range(SOLD)]
        session.execute(update(RecoveryLink).values(used_at=func.now()))
    owned = [signer.key_for(load_licenses(invoice.id)[0]) for invoice in sold]
    return [str(invoice.id) for invoice in sold], owned + keys, used


def _forged(key: str) -> str:
    """The key with another's signature."""
    _, payload, signature = key.split("-")
    return f"{PREFIX}-{payload}-{signature[1:-2]}{signature[0]}{signature[-2:]}"


def _forget() -> None:
    with transaction() as session:
        session.execute(text("TRUNCATE licenses, invoices, products, provider_accounts, recovery_links, mails CASCADE"))
