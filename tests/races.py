"""Fifty processes at once asking for the same thing, for the tests and the benchmarks."""

import gc
import multiprocessing

from sqlalchemy import func

from keysat.core.db import engine, transaction
from keysat.settlement.issue import issue
from tests.builders import make_invoice

RACERS = 50


def race_to_issue(rounds: int, signer_id: str) -> tuple[int, list[str]]:
    """In each round all processes issue one invoice's license. Returns the number of licenses, and the errors."""
    settled = {"status": "settled", "settled_at": func.now()}
    invoice_ids = [make_invoice(**settled).id for _ in range(rounds)]

    def attempt(number, _):
        with transaction() as session:
            return issue(session, invoice_ids[number], signer_id, actor="issue") is not None

    results, surprises = race(rounds, attempt)
    return sum(results), surprises


def race(rounds: int, attempt, count: int = RACERS) -> tuple[list, list[str]]:
    """In each round all processes call `attempt(round, racer)` at once. Returns the results, and the errors."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(count), context.Queue()
    racers = [
        context.Process(target=_racer, args=(rounds, attempt, number, start, results), daemon=True)
        for number in range(count)
    ]
    frozen_before = gc.get_freeze_count()
    gc.freeze()  # the children's garbage collection would copy all that they share with this process
    try:
        for racer in racers:
            racer.start()
    finally:
        if not frozen_before:
            gc.unfreeze()  # where a run froze what it collected, the little that a race adds stays, too
    reports = [results.get(timeout=300) for _ in racers]
    for racer in racers:
        racer.join(timeout=120)
    return [result for own, _ in reports for result in own], [surprise for _, own in reports for surprise in own]


def _racer(rounds, attempt, racer, start, results):
    """One process: make the attempt at each round's start, and report its result."""
    engine().dispose(close=False)
    own, surprises = [], []
    for number in range(rounds):
        start.wait(timeout=120)
        try:
            own.append(attempt(number, racer))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
            surprises.append(repr(error))
    results.put((own, surprises))
