"""Ten attempts, their waits within a fifth of the schedule, and never before the receiver's Retry-After."""

import pytest

from keysat.webhooks.delivery_queue import next_wait

SCHEDULE = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200]


@pytest.mark.parametrize(("failures", "seconds"), list(enumerate(SCHEDULE, start=1)))
def test_waits_are_those_of_the_schedule_give_or_take_a_fifth(failures, seconds):
    waits = [next_wait(failures) for _ in range(500)]
    assert 0.8 * seconds <= min(waits) < 0.85 * seconds
    assert 1.15 * seconds < max(waits) <= 1.2 * seconds


def test_tenth_failure_is_the_last():
    assert next_wait(9) is not None
    assert [next_wait(10), next_wait(11)] == [None, None]


def test_wish_of_the_receiver_is_honored_up_to_a_day():
    assert next_wait(1, 300) == 300
    assert next_wait(1, 10**9) == 86_400
    assert next_wait(5, 1) >= 0.8 * 1_800
    assert next_wait(10, 300) is None
