"""Races for a code never oversell it, and the losers leave nothing behind."""

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.models import Invoice
from tests.codes.races import SLOTS, race_for_slots

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

ROUNDS = 3


def test_hundred_buyers_get_ten_slots_and_no_more():
    assert race_for_slots(ROUNDS) == [(SLOTS, SLOTS, SLOTS, SLOTS)] * ROUNDS
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == ROUNDS * SLOTS
