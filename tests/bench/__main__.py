"""`make bench`: ratios measured within one run, each beside the bar it has to clear; exit 1 when one does not."""

import sys

from tests.environment import running_servers  # isort: skip - it sets the environment that the rest reads

from keysat.providers import registry
from keysat.providers.fake import Fake, fake_server
from tests.bench.beats import calls_with_two_beats
from tests.bench.claims import claim_cost_ratio
from tests.bench.codes import slots_a_round
from tests.bench.race import licenses_a_round
from tests.bench.rates import reconcile_rate_ratio
from tests.bench.validate import validate_rate_ratio
from tests.bench.webhooks import webhook_bars
from tests.builders import FAKE_URL, STORE


def main() -> int:
    """Run all benchmarks."""
    registry.register(Fake)
    fake_server(FAKE_URL).api_keys = {STORE: "key-of-test-store"}
    with running_servers():
        bars = [claim_cost_ratio(), reconcile_rate_ratio(), calls_with_two_beats(), licenses_a_round(), slots_a_round()]
        bars.append(validate_rate_ratio())
        bars += webhook_bars()
    for bar in bars:
        print(bar)
    return 0 if all(bar.cleared for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
