"""Signatures that existing receivers and the published package verify."""

import base64
import hashlib
import hmac
import time
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from keysat.core.errors import InvalidInput
from keysat.webhooks.signing import check_secret, new_secret, signed_headers

BODY = b'{"event_type":"license.issued","timestamp":"2026-11-25T00:00:00+00:00","data":{}}'


def signed(*keys, at=None):
    return signed_headers(uuid4(), "license.issued", BODY, keys, int(time.time()) if at is None else at)


def test_existing_receivers_verify_with_the_secret_as_it_was_shown():
    secret = new_secret()
    headers = signed(secret)
    assert headers["X-Keysat-Signature"] == "sha256=" + hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    assert headers["X-Keysat-Event"] == "license.issued"
    assert headers["X-Keysat-Delivery"] == headers["webhook-id"]


def test_published_package_verifies_current_secrets():
    new, old, wrong = new_secret(), new_secret(), new_secret()
    headers = signed(new, old)
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, headers)["event_type"] == "license.issued"
    with pytest.raises(WebhookVerificationError):
        Webhook(wrong).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(BODY + b" ", headers)


def test_old_replay_is_rejected():
    secret = new_secret()
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, signed(secret, at=int(time.time()) - 3600))


@pytest.mark.parametrize("secret", ["a secret of an older installation", "whsec_not*base64*at*all*here"])
def test_secret_of_another_form_signs_with_its_bytes(secret):
    shown_to_the_package = base64.b64encode(secret.encode()).decode()
    assert Webhook(shown_to_the_package).verify(BODY, signed(secret))


def test_secrets_are_long_and_never_the_same():
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    "secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KEY, f"whsec_{KEY}", (bytes(range(40, 72))).hex(), "A" * 32]
)
def test_package_verifies_with_every_form_of_secret_that_is_taken(secret):
    assert check_secret(secret) == secret
    assert Webhook(secret).verify(BODY, signed(secret))["event_type"] == "license.issued"


@pytest.mark.parametrize(
    "secret",
    [
        "a secret of an older installation",
        "whsec_not*base64*at*all*here",
        KEY.rstrip("="),
        KEY.replace("A", "-"),
        "whsec_",
        "c2hvcnQ=",
        f" {KEY}",
        "ü" * 32,
    ],
)
def test_secret_ambiguous_or_invalid(secret):
    """A secret that the package reads differently, or not at all, is refused."""
    with pytest.raises(InvalidInput, match="base64"):
        check_secret(secret)
