"""What a second beat costs the provider."""

from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.beats import APP, INVOICES, calls_a_second
from tests.bench.bar import Bar
from tests.builders import STORE, make_account, make_catalog, make_invoice
from tests.nodes import ProcessContainer, worker_command

ROUNDS = 2


def calls_with_two_beats() -> Bar:
    """Provider calls with two beats, to those with one."""
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.register_store(STORE, "key-of-test-store")
        make_account("beats", kind="btcpay", base_url=server.url)
        make_catalog("beats")
        for _ in range(INVOICES):
            make_invoice("beats", "beats")
        worker = ProcessContainer(worker_command(APP, concurrency=2), " ready.")
        try:
            worker.ready()
            with_one, with_two = (_mean(client, worker, beats) for beats in (1, 2))
        finally:
            worker.teardown()
    figures = f"{with_two:.3f} calls a second for each invoice, to {with_one:.3f}; schedule 30 times as fast"
    return Bar("provider calls with two beats, to one", with_two / with_one, figures, at_most=1.05)


def _mean(client: SandboxClient, worker: ProcessContainer, beats: int) -> float:
    print(f"scanning with {beats} beat{'s' if beats > 1 else ''} ...", flush=True)
    return sum(calls_a_second(client, worker, beats) for _ in range(ROUNDS)) / ROUNDS
