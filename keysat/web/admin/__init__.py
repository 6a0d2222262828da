"""The admin API: the functions of the command line, for the operator's tools. Every route needs an API key."""

from fastapi import APIRouter, Depends

from keysat.web.admin import (
    accounts,
    audit,
    codes,
    deliveries,
    endpoints,
    invoices,
    licenses,
    policies,
    products,
    report,
    status,
    subscriptions,
    tips,
)
from keysat.web.admin.auth import known_query
from keysat.web.errors import documented

PREFIX = "/v1/admin"
router = APIRouter(responses=documented(401, 403), dependencies=[Depends(known_query)])
for _noun in (
    products,
    policies,
    codes,
    invoices,
    licenses,
    subscriptions,
    status,
    accounts,
    endpoints,
    deliveries,
    tips,
    report,
    audit,
):
    router.include_router(_noun.router)

__all__ = ["PREFIX", "router"]
