"""Fixtures of sales: those of mail, too."""

from tests.mail.conftest import mail_on, mail_server, mailer  # noqa: F401 - fixtures of mail
