"""The admin API accepts only known fields, and its description has no default that isn't one."""

import pytest

from tests.web.described import DESCRIBED

ADMIN = [
    (method, path)
    for path, operations in DESCRIBED["paths"].items()
    for method in operations
    if path.startswith("/v1/admin/")
]
PATCHES = [
    operations["patch"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    for operations in DESCRIBED["paths"].values()
    if "patch" in operations
]


def filled(path):
    """The path with something in place of each parameter."""
    return path.replace("{", "").replace("}", "")


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_unknown_query_parameter_is_refused_by_its_name(api, method, path):
    answer = api.call(method.upper(), filled(path), params={"emial": "a@example.com"})
    assert answer.status_code == 400
    assert "'emial'" in answer.json()["message"]


def test_patches_describe_no_default():
    assert len(PATCHES) >= 4
    for name in PATCHES:
        fields = DESCRIBED["components"]["schemas"][name]["properties"]
        assert not [field for field, schema in fields.items() if "default" in schema], name
        required = ["note"] if name == "LicenseChanges" else []  # the reason for it
        assert DESCRIBED["components"]["schemas"][name].get("required", []) == required, name
