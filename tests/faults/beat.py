"""Beats that are killed, lose their schedule file, and are two for the whole run."""

import time

from tests.faults.report import Report, judged
from tests.faults.world import World

BUYERS_A_SECOND = 10


def kill_beats(world: World, kills: int, every_seconds: float) -> Report:
    """Two beats at once. Each time one is killed, its schedule file is garbage at its next start."""
    schedules = {name: world.beat(name) for name in ("beat", "beat-too")}
    world.worker()
    worst = 0.0
    for number in range(kills):
        name = ("beat", "beat-too")[number % 2]
        with world.buyers(BUYERS_A_SECOND):
            time.sleep(every_seconds)
            with world.held(name) as beat:
                beat.kill()
                for file in schedules[name].parent.glob(f"{schedules[name].name}*"):
                    file.write_bytes(world.random.randbytes(4_096))
            ended = time.monotonic()
        worst = max(worst, world.recover(ended))
    return judged("beat killed, schedule corrupted, two beats", kills, world, worst)
