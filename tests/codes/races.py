"""A hundred buyers, in processes of their own, racing for the slots of one code. For the tests and the benchmarks."""

from collections import Counter

from sqlalchemy import func, select

from keysat.codes.manage import NewCode, add_code
from keysat.codes.reserve import CodeUsedUp
from keysat.core.db import reading, transaction
from keysat.models import DiscountCode, Invoice, Redemption
from keysat.models.discount_code import CodeKind
from keysat.sales.purchase import Order
from tests.builders import make_shop, open_invoice
from tests.races import race

BUYERS, SLOTS = 100, 10


def race_for_slots(rounds: int) -> list[tuple[int, int, int, int]]:
    """For each round: the buyers with a slot, the code's counter, its reserved slots, and its invoices."""
    make_shop()
    codes = [f"RACE{number}" for number in range(rounds)]
    with transaction() as session:
        for code in codes:
            add_code(session, NewCode(code, CodeKind.PERCENT, 1_000, max_uses=SLOTS), actor="cli")

    def attempt(number, _):
        try:
            open_invoice(Order("editor", code=codes[number]))
        except CodeUsedUp:
            return number, 0
        return number, 1

    results, surprises = race(rounds, attempt, BUYERS)
    assert not surprises, surprises
    won = Counter()
    for number, taken in results:
        won[number] += taken
    return [(won[number], *_stored(code)) for number, code in enumerate(codes)]


def _stored(code):
    with reading() as session:
        row = session.scalars(select(DiscountCode).where(DiscountCode.code == code)).one()
        held = select(func.count()).where(Redemption.code_id == row.id, Redemption.status == "reserved")
        invoices = select(func.count(Invoice.id)).join(Redemption).where(Redemption.code_id == row.id)
        return row.uses, session.scalar(held), session.scalar(invoices)
