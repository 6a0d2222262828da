"""`keysat product`: the products on sale."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from keysat.catalog.changes import change_product, explain_entitlement
from keysat.catalog.products import add_product, list_products
from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput
from keysat.core.money import DECIMALS, Money, amount_text, parse_decimal

app = typer.Typer(help="Products.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(metavar="PRODUCT", help="The product's slug.")]

# A comma only groups thousands: 19,99 EUR must not become 1999 EUR.
_PRICE = re.compile(
    r"(?P<number>(?:[0-9]{1,18}|[0-9]{1,3}(?:,[0-9]{3}){1,5})(?:\.[0-9]{1,8})?)(?: *(?P<unit>[A-Za-z]+))?"
)


def parse_price(text: str) -> Money:
    """Parse a price as typed by a person: `21000` or `21000 sat` in sats, `19.99 EUR` in a currency."""
    found = _PRICE.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"price {text[:40]!r} must be like 21000 or 21,000 (sats), or '19.99 EUR'.")
    number, unit = found["number"].replace(",", ""), found["unit"]
    if unit is None or unit.lower() in {"sat", "sats"}:
        if "." in number:
            raise InvalidInput(f"price {text[:40]!r} has a fraction of a sat; give whole sats.")
        return Money(int(number), "BTC")
    decimals = len(number.partition(".")[2])
    if decimals > DECIMALS.get(unit.upper(), decimals):
        raise InvalidInput(f"price {text[:40]!r} has more decimals than {unit.upper()} has; round it yourself.")
    return parse_decimal(number, unit.upper())


@app.command()
def add(
    slug: Annotated[str, typer.Argument(help="A short name: lower-case letters, digits, '.', '_', '-'.")],
    price: Annotated[str, typer.Option(help="In sats, as 21000, or in a currency, as '19.99 EUR'.")],
    name: Annotated[str, typer.Option(help="The name that buyers see; default: the slug.")] = "",
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a product. It can be sold once it has a policy (`keysat policy add`)."""
    with transaction() as session:
        product = add_product(session, slug, name or slug, parse_price(price), description, actor="cli")
    show_record({"id": str(product.id), "slug": product.slug}, as_json)


@app.command()
def edit(
    slug: Slug,
    name: Annotated[str | None, typer.Option(help="The name that buyers see.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    price: Annotated[str | None, typer.Option(help="In sats, as 21000, or in a currency, as '19.99 EUR'.")] = None,
    account: Annotated[str | None, typer.Option(help="The account that sells it; '' leaves that to the ranks.")] = None,
) -> None:
    """Change what buyers see and pay from now on."""
    changes: dict[str, object] = {"name": name, "description": description}
    if price is not None:
        money = parse_price(price)
        changes |= {"price_amount": money.amount, "price_currency": money.currency}
    chosen = {} if account is None else {"account": account or None}
    _change(slug, {field: value for field, value in changes.items() if value is not None} | chosen)


@app.command()
def archive(slug: Slug) -> None:
    """Take a product out of sale. Issued licenses stay unchanged."""
    _change(slug, {"archived": True})


@app.command()
def unarchive(slug: Slug) -> None:
    """Put a product back on sale."""
    _change(slug, {"archived": False})


@app.command()
def explain(
    slug: Slug,
    entitlement: Annotated[str, typer.Argument(help="The entitlement's slug.")],
    name: Annotated[str, typer.Argument(help="Its name for buyers; an empty one removes the explanation.")],
    description: Annotated[str, typer.Option(help="What it is.")] = "",
) -> None:
    """Explain one of a product's entitlements to buyers."""
    with transaction() as session:
        product = explain_entitlement(session, slug, entitlement, name, description, "cli")
    say(f"{slug} explains {len(product.entitlements_catalog)} entitlements")


def _change(slug: str, changes: dict[str, object]) -> None:
    if not changes:
        raise InvalidInput("say what to change; `--help` lists it.")
    with transaction() as session:
        change_product(session, slug, changes, "cli")
    say(f"{slug} is changed")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the products."""
    with reading() as session:
        products = sorted(list_products(session), key=lambda product: product.slug)
    show_rows(
        [
            {
                "slug": row.slug,
                "name": row.name,
                "price": amount_text(row.price_amount, row.price_currency),
                "id": row.id,
                "archived": row.archived_at,
            }
            for row in products
        ],
        as_json,
    )
