"""Workers that get SIGTERM under load, and a long run in which nothing may grow."""

import os
import signal
import statistics
import time

from tests.faults.report import Report, judged
from tests.faults.stopwatch import Stopwatch
from tests.faults.world import World
from tests.nodes import wait_until

BUYERS_A_SECOND = 1  # a worker that restarts every few seconds, before a slow provider, does little more
SOAKED_A_SECOND = 3
# A task that ends while its worker shuts down isn't acknowledged, and its process waits for that for 30 s before it
# gives up (billiard/pool.py, _ensure_messages_consumed), and the message is delivered again.
STOP_SECONDS = 45.0
MEMORY_MB, IDLE_SECONDS = 20.0, 5.0


def terminate_workers(world: World, times: int, latency: float = 0.3) -> Report:
    """SIGTERM while the worker waits for a slow provider: it ends what it is at, in time, by itself."""
    world.worker()
    world.beat()
    world.client.set_faults([{"kind": "latency", "seconds": latency}])
    slowest, busy, statuses = 0.0, 0, set()
    with world.buyers(BUYERS_A_SECOND):
        for _ in range(times):
            wait_until(lambda: world.broker.hlen("unacked"), timeout=60)
            time.sleep(world.random.uniform(0, latency))
            with world.held("worker") as worker:
                busy += bool(world.broker.hlen("unacked"))
                watch = Stopwatch()
                os.kill(worker.pid, signal.SIGTERM)
                statuses.add(worker.wait())
                slowest = max(slowest, watch.seconds)
            wait_until(lambda: world.nodes["worker"].alive, timeout=10)
            world.await_worker()
    world.client.set_faults([])
    report = judged("SIGTERM under load", times, world, world.recover(time.monotonic()))
    report.within("slowest end", slowest, STOP_SECONDS)
    report.at_most("worst exit status", max(abs(status) for status in statuses), 0)
    report.at_least("of them, while a message was being worked on", busy, times // 2)
    return report


def soak(world: World, seconds: float) -> Report:
    """Run everything for long with lost, duplicate and reordered webhooks. Memory, broker and database don't grow."""
    world.worker()
    world.beat()
    world.web()
    world.client.set_webhooks(drop=0.3, duplicate=0.3, reorder=True, seed=world.random.randrange(2**31))
    samples, keys, idle = [], set(), 0.0
    watch = Stopwatch()
    with world.buyers(SOAKED_A_SECOND, sell=lambda count: world.sell(count, unpaid=world.random.random() < 0.1)):
        while watch.seconds < seconds:
            time.sleep(1)
            idle = max(idle, world.oracle.longest_idle_transaction())
            if watch.seconds > seconds / 3:  # what is loaded once is loaded by then
                samples.append(world.resident_memory())
                keys |= {key.decode() for key in world.broker.scan_iter()}
    report = judged(f"soak of {seconds:,.0f} s", 1, world, world.recover(time.monotonic()))
    third = max(1, len(samples) // 3)
    lasting = set.intersection(*map(set, samples))
    grown = max(_median(samples[-third:], pid) - _median(samples[:third], pid) for pid in lasting)
    report.at_most("growth of the process that grew most, first to last third", grown, MEMORY_MB, " MB")
    report.at_most("different keys in the broker", len(keys), 25)
    report.within("longest transaction idle", idle, IDLE_SECONDS)
    return report


def _median(samples: list[dict[int, float]], pid: int) -> float:
    return statistics.median(sample[pid] for sample in samples)
