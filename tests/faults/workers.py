"""Workers that are killed with -9, whole groups and single children, while invoices settle."""

import time

from tests.faults.report import Report, judged
from tests.faults.world import World
from tests.nodes import wait_until

# Each unpaid invoice is checked every 5 s, so many of them would be an unrealistic load.
_UNPAID_SHARE, _LOST_WEBHOOKS = 50, 0.9


def kill_workers(world: World, kills: int, invoices: int, children: float = 0.7) -> Report:
    """Kill after each batch of payments, while its licenses are being issued. Most kills hit one child."""
    world.worker()
    world.beat()
    world.web()
    world.client.set_webhooks(drop=_LOST_WEBHOOKS, duplicate=0.2, seed=world.random.randrange(2**31))
    groups = 0
    for number in range(kills):
        batch = invoices * (number + 1) // kills - invoices * number // kills
        world.sell(batch, unpaid=batch // _UNPAID_SHARE)
        wait_until(lambda: world.oracle.licenses() > world.paid - batch, timeout=120)  # noqa: B023 - asked at once
        time.sleep(world.random.uniform(0, 0.5))
        if number == 0 or not (world.random.random() < children and world.kill_child("worker")):
            world.kill("worker")
            groups += 1
    world.await_worker()
    seconds = world.recover(time.monotonic())
    report = judged("worker killed with -9", kills, world, seconds)
    report.at_least("invoices paid", world.paid, invoices)
    report.at_least("of the kills, whole groups", groups, 1)
    return report
