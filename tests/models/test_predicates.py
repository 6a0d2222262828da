"""Predicates give the same result for a row in Python and as a condition in SQL, for every state of their columns."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import Column, literal, select
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from keysat.core.db import reading
from keysat.models import (
    ApiKey,
    DiscountCode,
    Invoice,
    Machine,
    Policy,
    Product,
    ProviderAccount,
    ProviderEvent,
    Sweep,
    WebhookDelivery,
    WebhookEndpoint,
)
from keysat.models.invoice_status import InvoiceStatus, PaymentException
from keysat.models.provider_account import MAX_REST

NOW = datetime(2031, 5, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TIMES = (None, NOW - SECOND, NOW, NOW + SECOND, NOW + MAX_REST, NOW + MAX_REST + SECOND)
SET = (None, NOW)

# Each model's columns with their values. The clock's predicates get NOW as their argument.
COLUMNS = {
    Invoice: {
        "status": tuple(InvoiceStatus),
        "provider_invoice_id": (None, "inv-1"),
        "next_check_at": SET,
        "reversed_at": SET,
        "fulfilled_at": SET,
        "review_reason": (None, "late"),
        "review_resolved_at": SET,
    },
    ProviderAccount: {"paused_at": SET, "recheck_at": SET, "open_until": TIMES, "create_open_until": TIMES},
    ApiKey: {"revoked_at": SET, "expires_at": TIMES},
    DiscountCode: {"disabled_at": SET, "expires_at": TIMES},
    WebhookEndpoint: {"paused_at": SET, "disabled_at": SET},
    WebhookDelivery: {"next_attempt_at": SET, "delivered_at": SET},
    ProviderEvent: {"next_attempt_at": SET, "handled_at": SET},
    Machine: {"deactivated_at": SET},
    Product: {"archived_at": SET},
    Policy: {"archived_at": SET},
    Sweep: {"finished_at": SET},
}
PREDICATES = [
    *((Invoice, name) for name in ("reversed", "fulfilled", "in_review", "license_withheld", "license_due")),
    (Invoice, "abandoned"),
    *((ProviderAccount, name) for name in ("paused", "rejected", "breaker_open", "create_breaker_open", "resting")),
    *((ApiKey, name) for name in ("revoked", "usable")),
    *((DiscountCode, name) for name in ("disabled", "expired")),
    *((WebhookEndpoint, name) for name in ("paused", "disabled", "active")),
    *((WebhookDelivery, name) for name in ("pending", "delivered")),
    *((ProviderEvent, name) for name in ("pending", "handled")),
    (Machine, "deactivated"),
    (Product, "archived"),
    (Policy, "archived"),
    (Sweep, "finished"),
]
RECEIVED = {
    "paid_amount": (None, 0, 5),
    "amount": (7,),
    "settled_by_hand": (False, True),
    "exception": tuple(PaymentException),
}


def rows(model, columns):
    """One row for each combination of the columns' values."""
    return [model(**dict(zip(columns, values, strict=True))) for values in product(*columns.values())]


def in_sql(session, row, expression):
    """The value of an expression when the row's values take the place of its columns."""

    def value(element, **_):
        return literal(getattr(row, element.key), element.type) if isinstance(element, Column) else None

    return session.scalar(select(replacement_traverse(expression, {}, value)))


def evaluated(owner, name):
    found = getattr(owner, name)
    return found(NOW) if callable(found) and not hasattr(found, "__clause_element__") else found


def clause(found):
    return (found.__clause_element__() if hasattr(found, "__clause_element__") else found)._deannotate()


@pytest.mark.parametrize(("model", "name"), PREDICATES, ids=lambda part: getattr(part, "__name__", part))
def test_predicate_is_the_same_in_python_and_sql(servers, model, name):
    condition = clause(evaluated(model, name))
    used = {element.key for element in iterate(condition) if isinstance(element, Column)}
    cases = rows(model, {key: values for key, values in COLUMNS[model].items() if key in used})
    with reading() as session:
        results = [(evaluated(row, name), in_sql(session, row, condition)) for row in cases]
    assert all(python is sql for python, sql in results), results
    assert {python for python, _ in results} == {True, False}


def test_received_amount_is_the_same_in_python_and_sql(servers):
    expression = clause(Invoice.came_in)
    with reading() as session:
        results = [(row.came_in, in_sql(session, row, expression)) for row in rows(Invoice, RECEIVED)]
    assert [python for python, _ in results] == [sql for _, sql in results]


def test_failing_is_the_same_in_python_and_sql(servers):
    with reading() as session:
        for row in rows(Invoice, {"error_count": (0, 1), "acknowledged_at": SET}):
            assert row.failing is in_sql(session, row, clause(Invoice.failing))
