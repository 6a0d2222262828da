"""A hundred buyers race for ten slots, over and over."""

from tests.bench.bar import Bar
from tests.codes.races import BUYERS, SLOTS, race_for_slots

ROUNDS = 50


def slots_a_round() -> Bar:
    """The ratio of sold slots to existing ones. One wrong round misses the bar."""
    print(f"{BUYERS} buyers racing for {SLOTS} slots, {ROUNDS} times ...", flush=True)
    rounds = race_for_slots(ROUNDS)
    right = sum(counts == (SLOTS, SLOTS, SLOTS, SLOTS) for counts in rounds)
    figures = (
        f"{BUYERS} processes, {SLOTS} slots, {ROUNDS} rounds: {sum(counts[0] for counts in rounds)} sold, {right} right"
    )
    return Bar("rounds in which a code sold just its slots, to all", right / ROUNDS, figures, at_least=1.0)
