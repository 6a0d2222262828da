"""Two beats at once send every tick twice, and the provider hardly notices. `make bench` prints the ratio."""

import pytest

from tests.beats import APP, INVOICES, calls_a_second
from tests.builders import make_invoice
from tests.nodes import worker_command


@pytest.fixture
def worker_arguments():
    return worker_command(APP, concurrency=2)


def test_second_beat_costs_the_provider_nothing(celery_setup, shop):
    """Each call is a claim's, and each claim a due time's, however many beats there are."""
    for _ in range(INVOICES):
        make_invoice()
    worker = celery_setup.worker.container
    for beats in (1, 2):
        assert calls_a_second(shop, worker, beats, seconds=2) > 0
