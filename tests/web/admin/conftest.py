import pytest

from keysat.core.db import transaction
from keysat.models.api_key import Scope
from keysat.operations.api_keys import create_key
from tests.builders import make_shop


class Admin:
    """A client of the admin API with a key."""

    def __init__(self, api, key):
        self._api, self._headers = api, {"Authorization": f"Bearer {key}"}

    def call(self, method, path, body=None, **params):
        return self._api.call(method, f"/v1/admin/{path}", json=body, params=params, headers=self._headers)

    def get(self, path, **params):
        answer = self.call("GET", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None, status=200):
        answer = self.call("POST", path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def patch(self, path, body):
        answer = self.call("PATCH", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def admin(api, empty_database, fake):
    """The admin API of a shop with one product and one account, used with a key of scope write."""
    make_shop()
    with transaction() as session:
        key = create_key(session, "tests", Scope.WRITE, actor="cli")
    return Admin(api, key)
