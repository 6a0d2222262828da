"""`keysat api-key`: keys are shown once, stored as a hash, and end when they should."""

import pytest
from sqlalchemy import select, text

from keysat.core.db import reading, transaction
from keysat.models import ApiKey

pytestmark = pytest.mark.usefixtures("empty_database")


def works(api, key):
    return api.get("/v1/admin/products", headers={"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.fixture
def api(web_url):
    from tests.web.conftest import Api

    client = Api(web_url)
    yield client
    client.close()


def test_key_is_shown_once_and_stored_nowhere(keysat, api):
    made = keysat("api-key", "create", "shop", "--scope", "write")
    key = made.out.strip()
    assert key.startswith("ksk_")
    assert works(api, key)
    with reading() as session:
        stored = session.scalars(select(ApiKey)).one()
        whole = session.execute(text("SELECT api_keys::text FROM api_keys")).scalar_one()
    assert stored.scope == "write"
    assert stored.last_used_at is not None
    assert key not in whole
    (row,) = keysat("api-key", "list", "--json").json
    assert (row["name"], row["scope"], row["works"]) == ("shop", "write", True)
    assert key not in keysat("api-key", "list").out


def test_revoked_key_works_no_more(keysat, api):
    key = keysat("api-key", "create", "shop").out.strip()
    assert keysat("api-key", "revoke", "shop").code == 0
    assert not works(api, key)
    assert "no API key shop" in keysat("api-key", "revoke", "shop").refusal


def test_rotated_key_overlaps_with_the_new_one(keysat, api):
    old = keysat("api-key", "create", "shop").out.strip()
    new = keysat("api-key", "rotate", "shop", "--overlap", "1h").out.strip()
    assert old != new
    assert works(api, old)
    assert works(api, new)
    with transaction() as session:
        session.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE expires_at IS NOT NULL"))
    assert not works(api, old)
    assert works(api, new)


def test_names_are_used_once_and_have_a_form(keysat):
    keysat("api-key", "create", "shop")
    assert "there is an API key shop already" in keysat("api-key", "create", "shop").refusal
    assert "must be lower-case" in keysat("api-key", "create", "My Shop").refusal
    assert "no API key other" in keysat("api-key", "rotate", "other").refusal
    assert "must be like 30m" in keysat("api-key", "rotate", "shop", "--overlap", "soon").refusal
