import pytest

from keysat.core.settings import load_settings
from keysat.mail.send import Mailer
from tests.mail.server import MailServer

SENDER = "The shop <licenses@shop.example>"


@pytest.fixture
def mail_server():
    """A mail server that takes everything."""
    server = MailServer()
    yield server
    server.close()


@pytest.fixture
def mail_on(servers, monkeypatch, mail_server):
    """Mail is on in this process. Returns the settings."""
    for name, value in {
        "SMTP_URL": mail_server.url,
        "MAIL_FROM": SENDER,
        "PUBLIC_URL": "https://license.shop.example",
        "SUPPORT_ADDRESS": "help@shop.example",
    }.items():
        monkeypatch.setenv(f"KEYSAT_{name}", value)
    load_settings.cache_clear()
    yield load_settings()
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture
def mailer(mail_on, signer):
    """The mailer of this process."""
    return Mailer.of(mail_on, signer)
