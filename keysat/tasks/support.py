"""What a worker process makes once, for all its tasks."""

from __future__ import annotations

from functools import cache

from keysat.core.db import DATABASE
from keysat.core.settings import load_settings
from keysat.licenses.signer import Signer, installed_signer
from keysat.mail.send import Mailer
from keysat.tips.pay import Payer
from keysat.webhooks.deliver import Sender


@cache
def sender() -> Sender:
    """Return the sender of outbound webhooks."""
    return Sender.of(load_settings(), lambda row: _signer().key_for(row))


@cache
def mailer() -> Mailer:
    """Return the mailer."""
    return Mailer.of(load_settings(), _signer())


@cache
def payer() -> Payer:
    """Return the payer of tips."""
    return Payer.of(load_settings())


@cache
def signer_id() -> str:
    """Return the id of the key that signs licenses."""
    return _signer().key_id


@cache
def _signer() -> Signer:
    return installed_signer(DATABASE)
