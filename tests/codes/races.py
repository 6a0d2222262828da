"""A hundred buyers, in processes of their own, racing for the slots of one code. For the tests and the benchmarks."""

import gc
import multiprocessing

from sqlalchemy import func, select

from keysat.codes.manage import NewCode, add_code
from keysat.codes.reserve import CodeUsedUp
from keysat.db import engine, reading, transaction
from keysat.models import DiscountCode, Invoice, Redemption
from keysat.models.discount_code import CodeKind
from keysat.sales.purchase import Order
from tests.builders import make_shop, open_invoice

BUYERS, SLOTS = 100, 10


def race_for_slots(rounds: int) -> list[tuple[int, int, int, int]]:
    """For each round: how many buyers got a slot, the code's counter, slots held, invoices left by the code."""
    make_shop()
    codes = [f"RACE{number}" for number in range(rounds)]
    with transaction() as session:
        for code in codes:
            add_code(session, NewCode(code, CodeKind.PERCENT, 1_000, max_uses=SLOTS))
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(BUYERS), context.Queue()
    buyers = [context.Process(target=_buyer, args=(codes, start, results), daemon=True) for _ in range(BUYERS)]
    gc.freeze()  # the children's garbage collection would copy all that they share with this process
    try:
        for buyer in buyers:
            buyer.start()
    finally:
        gc.unfreeze()
    won = [results.get(timeout=300) for _ in buyers]
    for buyer in buyers:
        buyer.join(timeout=30)
    surprises = {entry for one in won for entry in one if isinstance(entry, str)}
    assert not surprises, surprises
    return [(sum(one[number] for one in won), *_stored(code)) for number, code in enumerate(codes)]


def _buyer(codes, start, results):
    engine().dispose(close=False)
    won = []
    for code in codes:
        start.wait(timeout=120)
        try:
            open_invoice(Order("editor", code=code))
            won.append(1)
        except CodeUsedUp:
            won.append(0)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
            won.append(repr(error))
    results.put(won)


def _stored(code):
    with reading() as session:
        row = session.scalars(select(DiscountCode).where(DiscountCode.code == code)).one()
        held = select(func.count()).where(Redemption.code_id == row.id, Redemption.status == "reserved")
        invoices = select(func.count(Invoice.id)).join(Redemption).where(Redemption.code_id == row.id)
        return row.uses, session.scalar(held), session.scalar(invoices)
