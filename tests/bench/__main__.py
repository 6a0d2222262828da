"""`make bench`: ratios measured within one run, each beside the bar it has to clear; exit 1 when one does not."""

import sys

from tests.environment import running_servers  # isort: skip - it sets the environment that the rest reads

from tests.bench.claims import claim_cost_ratio
from tests.bench.rates import reconcile_rate_ratio


def main() -> int:
    """Run all benchmarks."""
    with running_servers():
        bars = [claim_cost_ratio(), reconcile_rate_ratio()]
    for bar in bars:
        print(bar)
    return 0 if all(bar.cleared for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
