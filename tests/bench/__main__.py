"""`make bench`: ratios measured within one run, each with its bar. Exits with 1 if one misses it."""

import sys

from tests.environment import running_servers  # isort: skip - it sets the environment of the following imports

from keysat.providers import registry
from keysat.providers.fake import Fake, fake_server
from tests.bench.beats import calls_with_two_beats
from tests.bench.claims import claim_cost_ratio
from tests.bench.codes import slots_a_round
from tests.bench.deliveries import delay_by_a_hung_receiver, deliveries_in_a_storm
from tests.bench.guesses import guesses_admitted, time_of_near_hits
from tests.bench.hanging import delay_by_hanging_purchases
from tests.bench.memory import memory_of_up
from tests.bench.race import licenses_a_round
from tests.bench.rates import reconcile_rate_ratio
from tests.bench.sweep import sweep_rate_ratio
from tests.bench.validate import validate_rate_ratio
from tests.bench.webhooks import seconds_to_license, states_after_disorder
from tests.builders import FAKE_URL, STORE

BENCHMARKS = (
    claim_cost_ratio,
    reconcile_rate_ratio,
    calls_with_two_beats,
    licenses_a_round,
    slots_a_round,
    validate_rate_ratio,
    seconds_to_license,
    states_after_disorder,
    sweep_rate_ratio,
    deliveries_in_a_storm,
    delay_by_a_hung_receiver,
    delay_by_hanging_purchases,
    time_of_near_hits,
    guesses_admitted,
    memory_of_up,
)


def main() -> int:
    """Run all benchmarks."""
    registry.register(Fake)
    fake_server(FAKE_URL).api_keys = {STORE: "key-of-test-store"}
    cleared = True
    with running_servers():
        for measure in BENCHMARKS:
            bar = measure()
            print(bar, flush=True)
            cleared = cleared and bar.cleared
    return 0 if cleared else 1


if __name__ == "__main__":
    sys.exit(main())
