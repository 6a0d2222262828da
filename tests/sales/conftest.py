"""Fixtures of sales: those of mail, too."""

from tests.mail.conftest import mail_on, mail_server  # noqa: F401 - fixtures of mail
