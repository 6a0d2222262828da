"""`keysat audit`: who changed what, when and why."""

import json
from uuid import uuid4

import pytest

from tests.builders import make_invoice, make_shop

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def test_lines_come_oldest_first(keysat):
    make_invoice()
    rows = keysat("audit", "list", "--json").json
    assert [row["action"] for row in rows] == [
        "provider.added",
        "provider.sells",
        "product.added",
        "policy.added",
        "invoice.opened",
    ]
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert {row["actor"] for row in rows} == {"cli"}


def test_lines_are_of_one_subject_where_asked_for(keysat):
    invoice = make_invoice()
    make_invoice()
    [row] = keysat("audit", "list", invoice.id, "--json").json
    assert (row["action"], row["subject_id"]) == ("invoice.opened", str(invoice.id))
    assert json.loads(row["detail"]) == {"price": "21,000 sat", "account": "main"}


def test_limit_keeps_the_newest_lines(keysat):
    make_invoice()
    rows = keysat("audit", "list", "--limit", "2", "--json").json
    assert [row["action"] for row in rows] == ["policy.added", "invoice.opened"]


def test_note_of_a_decision_is_shown(keysat):
    invoice = make_invoice()
    keysat("invoice", "settle", invoice.id, "--note", "paid\tin\ncash")
    line = keysat("audit", "list", invoice.id).out.splitlines()[-1]
    assert line.split("\t")[1:3] == ["cli", "invoice.settled"]
    assert "cash" in line


def test_subject_without_lines_is_an_empty_list(keysat):
    make_shop()
    assert keysat("audit", "list", uuid4(), "--json").json == []
    assert "valid UUID" in keysat("audit", "list", "nothing").usage
    assert "--limit" in keysat("audit", "list", "--limit", "0").usage
