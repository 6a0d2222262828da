"""The registry makes adapters from stored accounts, and says why it can't."""

import pytest

from keysat.core.errors import AccountUnusable, CallFailed, InvalidInput, SettingsError
from keysat.core.hints import Hint
from keysat.models import ProviderAccount
from keysat.providers.registry import adapter_of, provider_for

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
