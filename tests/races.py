"""Fifty processes at once asking for the same license, for the tests and the benchmarks."""

import gc
import multiprocessing

from sqlalchemy import func

from keysat.db import engine, transaction
from keysat.settlement.issue import issue
from tests.builders import make_invoice

RACERS = 50


def race_to_issue(rounds: int, signer_id: str) -> tuple[int, list[str]]:
    """In each round all processes issue one invoice's license; returns how many were issued, and what went wrong."""
    settled = {"status": "settled", "settled_at": func.now()}
    invoice_ids = [make_invoice(**settled).id for _ in range(rounds)]
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(RACERS), context.Queue()
    arguments = (invoice_ids, start, signer_id, results)
    racers = [context.Process(target=_racer, args=arguments, daemon=True) for _ in range(RACERS)]
    gc.freeze()  # the children's garbage collection would copy all that they share with this process
    try:
        for racer in racers:
            racer.start()
    finally:
        gc.unfreeze()
    reports = [results.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(timeout=30)
    return sum(won for won, _ in reports), [surprise for _, surprises in reports for surprise in surprises]


def _racer(invoice_ids, start, signer_id, results):
    """One process: at each round's start, issue that round's invoice; report what came of it."""
    engine().dispose(close=False)
    won, surprises = 0, []
    for invoice_id in invoice_ids:
        start.wait(timeout=60)
        try:
            with transaction() as session:
                won += issue(session, invoice_id, signer_id) is not None
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
            surprises.append(repr(error))
    results.put((won, surprises))
