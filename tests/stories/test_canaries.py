"""A license's whole life at log level DEBUG: no secret is in logs, broker, database, error responses or Flower."""

import re
import socket
import sys
import threading
from contextlib import contextmanager

import pytest
import redis
import requests

from keysat.core.db import engine, transaction
from keysat.core.secrets import secret_box
from keysat.models.api_key import Scope
from keysat.operations.api_keys import create_key
from keysat.webhooks.endpoints import add_endpoint
from tests.builders import SECRET, STORE, load_account, load_licenses
from tests.canaries import GIVEN, kept_in_files, leaks, leaks_in_logs
from tests.environment import SCRATCH
from tests.mail.letters import html_of, load_mails, parsed, text_of
from tests.mail.server import MailServer
from tests.nodes import ProcessContainer, wait_until, worker_command
from tests.webhooks.receiver import Receiver

API_KEY, DATABASE_PASSWORD = GIVEN["a provider's API key"], GIVEN["the database's password"]
MAIL_PASSWORD = GIVEN["the mail server's password"]
BUYER = {"buyer_email": "canary.buyer@example.com", "buyer_note": "a note of canary-yellow color"}
_LOCAL = {"KEYSAT_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "KEYSAT_WEBHOOK_ALLOW_HTTP": "true"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Overheard:
    """Every command to the broker, until the end."""

    def __init__(self, client):
        self.lines, self._client, self._over = [], client, threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._listening.wait(120)

    def _listen(self):
        pool = self._client.connection_pool
        kept = {**pool.connection_kwargs, "socket_timeout": None}  # a stall of the machine is no end of the talk
        patient = redis.Redis(connection_pool=type(pool)(connection_class=pool.connection_class, **kept))
        with patient.monitor() as monitor:
            self._listening.set()
            for command in monitor.listen():
                self.lines.append(str(command["command"]))
                if self._over.is_set():
                    return

    def text(self):
        self._over.set()
        self._client.ping()
        self._thread.join(120)
        return "\n".join(self.lines)


@contextmanager
def processes(settings, port, flower_port, mail_server):
    """A worker whose events Flower watches, the web server and Flower, reached by a URL with a password."""
    scheme, _, rest = settings.database_url.partition("keysat@")
    environment = {
        "DATABASE_URL": f"{scheme}keysat:{DATABASE_PASSWORD}@{rest}",
        "KEYSAT_WEB_PORT": str(port),
        "FLOWER_UNAUTHENTICATED_API": "true",
        "KEYSAT_SMTP_URL": mail_server.url.replace("smtp://", f"smtp://shop:{MAIL_PASSWORD}@"),
        "KEYSAT_MAIL_FROM": "licenses@shop.example",
        **_LOCAL,
    }
    celery = [sys.executable, "-m", "celery", "-A", "keysat.worker"]
    running = [
        ProcessContainer(worker_command(extra=("-E",)), " ready.", environment),
        ProcessContainer([sys.executable, "-m", "keysat", "web"], "startup complete", environment),
        ProcessContainer([*celery, "flower", "--address=127.0.0.1", f"--port={flower_port}"], None, environment),
    ]
    try:
        for process in running[:2]:
            assert process.ready()
        wait_until(lambda: listens(flower_port))
        yield running
    finally:
        for process in running:
            process.teardown()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def dump():
    """The whole database as text."""
    with engine().connect() as connection:
        names = (
            connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars().all()
        )
        rows = [connection.exec_driver_sql(f'SELECT t::text FROM "{name}" t').scalars().all() for name in names]
    return "\n".join(line for lines in rows for line in lines)


def wrong_requests(url, license_key):
    """Refused requests of many kinds, some with secrets in them. Returns the responses' texts."""
    bad = {"Authorization": f"Bearer {API_KEY}"}
    answers = [
        requests.post(f"{url}/v1/validate", json={"key": license_key + "A", "product_slug": "editor"}, timeout=120),
        requests.post(f"{url}/v1/validate", data=license_key, timeout=120),
        requests.get(f"{url}/v1/admin/accounts", headers=bad, timeout=120),
        requests.post(f"{url}/v1/machines/heartbeat", json={"key": license_key, "fingerprint": 5}, timeout=120),
        requests.post(f"{url}/v1/redeem", json={"product": "editor", "code": "NOSUCH"}, timeout=120),
        requests.post(f"{url}/v1/btcpay/webhook/{load_account().id}", data=SECRET, timeout=120),
        requests.get(f"{url}/v1/{license_key}", timeout=120),
    ]
    return "\n".join(answer.text for answer in answers if answer.status_code >= 400)


@pytest.fixture
def echoing_receiver(settings, shop):
    """A receiver that fails first, and repeats what it got."""
    answers = iter([(500, {}, b"no"), (200, {}, b"ok")])
    receiver = Receiver(lambda copy: next(answers, 204))
    with transaction() as session:
        add_endpoint(session, secret_box(settings), "books", receiver.url, allow_http=True, actor="cli")
    return receiver


class EchoingMailServer(MailServer):
    """Wants a password, keeps each message that it is handed, and refuses it with the recipient's address."""

    def __init__(self):
        self.handed_over = []
        super().__init__(self._refuse, login=("shop", MAIL_PASSWORD))

    def _refuse(self, at, what):
        if at != "data":
            return None
        self.handed_over.append(what)
        return f"451 4.7.1 {what.recipients[0]} later"

    def text(self):
        """All that it was handed, decoded, and the user names."""
        messages = [text for taken in self.handed_over for text in (headers_of(taken), text_of(taken), html_of(taken))]
        return "\n".join([*messages, *(user for user, _ in self.logins)])


def headers_of(taken):
    return "\n".join(f"{name}: {value}" for name, value in parsed(taken).items())


@pytest.fixture
def echoing_mail_server():
    server = EchoingMailServer()
    yield server
    server.close()


def test_no_secret_turns_up_anywhere(
    settings, empty_broker, worker_processes, shop, echoing_receiver, echoing_mail_server
):
    for started in list(worker_processes):
        worker_processes.pop(started).teardown()
    secrets = {**GIVEN, **kept_in_files(settings)}
    port, flower_port = free_port(), free_port()
    url, overheard = f"http://127.0.0.1:{port}", Overheard(empty_broker)
    with processes(settings, port, flower_port, echoing_mail_server):
        shop.register_store(STORE, "key-of-test-store", f"{url}/v1/btcpay/webhook/{load_account().id}", SECRET)
        shop.set_webhooks()
        bought = requests.post(f"{url}/v1/purchase", json={"product": "editor", **BUYER}, timeout=120).json()
        # A provider that repeats our key in its refusals must not put it into our logs or rows.
        shop.set_faults([{"kind": "status", "status": 400, "body": API_KEY, "times": 1}])
        shop.pay(bought["btcpay_invoice_id"])
        wait_until(lambda: echoing_receiver.copies)
        shop.set_faults([])
        license_key = wait_until(
            lambda: requests.get(f"{url}/v1/purchase/{bought['invoice_id']}", timeout=120).json()["license_key"], 60
        )
        wait_until(lambda: any(mail.last_error for mail in load_mails()), 60)
        with transaction() as session:
            admin = {"Authorization": f"Bearer {create_key(session, 'canary', Scope.WRITE, actor='cli')}"}
        assert requests.get(f"{url}/v1/admin/accounts", headers=admin, timeout=120).status_code == 200
        refusals = wrong_requests(url, license_key)
        shown = [requests.get(f"http://127.0.0.1:{flower_port}/{page}", timeout=120) for page in ("tasks", "api/tasks")]
    assert len(load_licenses()) == 1
    assert BUYER["buyer_email"] in load_mails()[0].last_error, "the mail server has seen nothing"
    assert "keysat.issue_license" in shown[1].text, "Flower has seen nothing"
    assert "settle: Settled/None" in shown[1].text, "Flower shows what a task returns"
    texts = {
        "errors": refusals,
        "Flower": shown[0].text + shown[1].text,
        "broker": overheard.text(),
        "database": dump(),
    }
    assert all(texts.values())
    assert {password for _, password in echoing_mail_server.logins} == {MAIL_PASSWORD}
    # What is the buyer's goes to the buyer, and nothing else.
    assert leaks(echoing_mail_server.text(), secrets) == {"a license key", "a purchase's token"}
    assert license_key in echoing_mail_server.text()
    assert "issue_license" in texts["broker"]
    assert {where: found for where, text in texts.items() if (found := leaks(text, secrets))} == {}
    assert leaks_in_logs(SCRATCH, secrets) == {}
    everywhere = texts["broker"] + texts["Flower"] + "".join(log.read_text() for log in SCRATCH.rglob("*.log"))
    assert re.search("canary[. -](buyer|yellow)", everywhere) is None, "buyers' data belong to the database alone"


def test_canary_that_is_out_would_be_seen(tmp_path, settings):
    secrets = {**GIVEN, **kept_in_files(settings)}
    for what, secret in secrets.items():
        (tmp_path / "worker.log").write_text(f"[debug] calling with {secret} now")
        assert leaks_in_logs(tmp_path, secrets) == {str(tmp_path / "worker.log"): {what}}
        assert leaks(f"... {secret.encode().hex()} ...", secrets) == {what}
    assert leaks("LIC1-" + "A" * 30 + "-" + "B" * 30, {}) == {"a license key"}
    assert leaks("no secret at all", secrets) == set()
