"""Pay the rest of a purchase whose payment was too low."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from keysat.core.db import DATABASE, reading
from keysat.models import Invoice
from keysat.sales.rest import pay_rest
from keysat.web.bulkhead import provider_place
from keysat.web.errors import documented
from keysat.web.limits import limit_purchases
from keysat.web.purchase import Started, started
from keysat.web.tokens import page_of, proven_purchase

router = APIRouter(tags=["purchase"])


@router.post(
    "/v1/purchase/{invoice_id}/rest",
    responses=documented(404, 409, 502),
    dependencies=[Depends(limit_purchases), Depends(provider_place)],
    response_model_exclude_none=True,
)
def rest(invoice_id: Annotated[str, Path(max_length=200)]) -> Started:
    """Open an invoice for what is missing of a purchase, once its `state` is `short`.

    The buyer pays at `checkout_url`, the program goes on to poll `poll_url`. Both payments together make the license.
    A repeated request gets the same invoice. Once its payment was seen, the response is 409. The plain id of the
    purchase doesn't open it.
    """
    purchase_id = proven_purchase(invoice_id)
    rest_id = pay_rest(DATABASE, purchase_id, "api", page_of)
    with reading() as session:
        return started(session.get_one(Invoice, rest_id), purchase_id)
