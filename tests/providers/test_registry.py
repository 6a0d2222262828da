"""The registry makes adapters from stored accounts, and says why it can't."""

import pytest

from keysat.core import metrics
from keysat.core.errors import AccountUnusable, CallFailed, InvalidInput, RemoteNotFound, SettingsError
from keysat.core.hints import Hint
from keysat.models import ProviderAccount
from keysat.providers.base import Webhook
from keysat.providers.refusals import NotSupported, WebhookRejected
from keysat.providers.registry import adapter_of, provider_for
from tests.builders import load_account

pytestmark = pytest.mark.usefixtures("settings", "fake")


def account(**facts):
    stored = {"name": "main", "kind": "fake", "base_url": "fake://tests", "store_id": "s", "sealed_credentials": b"?"}
    return ProviderAccount(**{**stored, **facts})


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"kind": "other"}, "main is of kind 'other', which this version doesn't know"),
        ({}, "account main can't be decrypted"),
    ],
    ids=["unknown kind", "credentials of another key"],
)
def test_account_that_cannot_be_called_is_one_failure(facts, complaint):
    with pytest.raises(AccountUnusable, match=complaint) as failure:
        provider_for(account(**facts))
    assert isinstance(failure.value, CallFailed)


def test_account_that_cannot_be_called_has_the_hint_of_its_cause(monkeypatch):
    def lost(*_):
        raise SettingsError("the key is lost.", Hint.RESTORE_SECRETS_KEY, path="secrets.key")

    monkeypatch.setattr("keysat.providers.registry.secret_box", lost)
    with pytest.raises(AccountUnusable) as failure:
        provider_for(account(store_id="another"))
    assert failure.value.hint is Hint.RESTORE_SECRETS_KEY
    assert failure.value.facts == {"path": "secrets.key"}


def test_unknown_kind_of_a_new_account_is_invalid_input():
    with pytest.raises(InvalidInput, match="provider kind 'other' is not known"):
        adapter_of("other")


def measured(name, **labels):
    """The value of a metric, or 0 while it has none."""
    return metrics._registry.get_sample_value(name, labels) or 0


def test_calls_are_measured_by_account_and_name(fake_shop):
    """A refusal to do what the provider doesn't support is no failed call, and a webhook is no call."""
    provider, labels = provider_for(load_account()), {"account": "main", "call": "get_invoice"}
    seconds, errors = "keysat_provider_seconds_count", "keysat_provider_errors_total"
    calls, failures = measured(seconds, **labels), measured(errors, account="main", kind="RemoteNotFound")
    with pytest.raises(RemoteNotFound):
        provider.get_invoice("none")
    with pytest.raises(NotSupported):
        provider.find_named("none")
    with pytest.raises(WebhookRejected):
        provider.parse_webhook(Webhook({}, b""))
    assert measured(seconds, **labels) == calls + 1
    assert measured(errors, account="main", kind="RemoteNotFound") == failures + 1
    assert measured(errors, account="main", kind="NotSupported") == 0
    assert measured(seconds, account="main", call="parse_webhook") == 0
