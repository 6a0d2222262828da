"""A broker that is wiped, killed, stopped, cut off, and out of memory."""

import os
import signal
import time
from contextlib import contextmanager
from functools import partial

import redis

from tests.faults.proxy import Proxy
from tests.faults.report import Report, judged
from tests.faults.world import World

BUYERS_A_SECOND = 10
CONSUMING_AGAIN = 30.0


def break_broker(
    world: World, wipes: int, kills: int, stopped_seconds: float, swallowed_seconds: float, full_seconds: float
) -> Report:
    """One after the other while buyers pay. After each, everything paid must be licensed without help."""
    with Proxy(str(world.settings.run_dir / "valkey.sock")) as proxy:
        through = {"BROKER_URL": f"redis://127.0.0.1:{proxy.port}/0"}
        world.worker(**through)
        world.beat(**through)
        world.web(**through)
        worst = {}

        def after(what, break_it, times=1):
            for _ in range(times):
                with world.buyers(BUYERS_A_SECOND):
                    time.sleep(world.random.uniform(0.3, 1.5))
                    break_it()
                    ended = time.monotonic()
                worst[what] = max(worst.get(what, 0.0), world.recover(ended))

        after("wiped", world.broker.flushall, wipes)
        after("killed", lambda: _kill(world), kills)
        for what, break_it, seconds in (
            ("stopped", _stop, stopped_seconds),
            ("cut off", partial(_swallow, proxy), swallowed_seconds),
            ("out of memory", _fill, full_seconds),
        ):
            after(what, partial(break_it, world, seconds), times=bool(seconds))
        report = judged("broker wiped, killed, stopped, cut off, full", wipes + kills + len(worst) - 2, world,
                        max(worst.values()), within=None)  # fmt: skip
        for what, seconds in worst.items():
            report.within(f"{what}: consuming again, and all licensed, within", seconds, CONSUMING_AGAIN)
        return report


def _kill(world: World) -> None:
    world.valkey.kill()
    time.sleep(world.random.uniform(0, 1))
    world.valkey.start()


def _stop(world: World, seconds: float) -> None:
    os.kill(world.valkey.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(world.valkey.pid, signal.SIGCONT)


def _swallow(proxy: Proxy, _: World, seconds: float) -> None:
    proxy.swallow()
    time.sleep(seconds)
    proxy.let_pass()


def _fill(world: World, seconds: float) -> None:
    with _limited(world.broker):
        time.sleep(seconds)


@contextmanager
def _limited(client: redis.Redis):
    """Let the broker refuse every command that takes memory."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")
