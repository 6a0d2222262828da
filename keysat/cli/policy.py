"""`keysat policy`: policies, the terms of licenses."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from keysat.catalog.changes import change_policy
from keysat.catalog.products import add_policy, amount_of, list_policies, require_product
from keysat.catalog.terms import Display, Terms
from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.cli.product import parse_price
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput
from keysat.core.money import amount_text
from keysat.models import Product

app = typer.Typer(help="Policies: the terms a product is licensed under.", no_args_is_help=True)

DAY = 86_400

Product_ = Annotated[str, typer.Argument(metavar="PRODUCT", help="The product's slug.")]
Policy_ = Annotated[str, typer.Argument(metavar="POLICY", help="The policy's slug.")]
_RELEASES = typer.Option(min=0, max=1_000, help="Seats that a key's holder may free in 30 days, for each seat.")
_RECURRING = "Licenses can be renewed, each time for the same days and price."
_TRIAL = "Free days at the beginning of a recurring license, once for each buyer; 0 = none."
_NOTICES = "Days before a license's end at which its holder gets notice; repeatable; 14, 7 and 1 by default."
_POSITION = "Its place among the product's policies: lower comes first, and the first is the default."
_HIDDEN = "Show it to nobody; those who know its slug can buy it."
TipRecipient = Annotated[str | None, typer.Option(help="A Lightning Address that gets a share of what is paid.")]
TipShare = Annotated[int | None, typer.Option(min=1, max=10_000, help="Its share in basis points: 500 is 5 %.")]
TipLabel = Annotated[str, typer.Option(help="What the tip is for, as your records should say.")]


@app.command()
def add(
    product: Annotated[str, typer.Argument(help="The product's slug.")],
    slug: Annotated[str, typer.Argument(help="The policy's own slug, as 'pro' or 'trial'.")],
    name: Annotated[str, typer.Option(help="The name that buyers see; default: the slug.")] = "",
    description: Annotated[str, typer.Option(help="What it includes.")] = "",
    days: Annotated[int | None, typer.Option(min=1, help="How long a license lasts; default: for ever.")] = None,
    grace_days: Annotated[int, typer.Option(min=0, help="How long it still counts after that.")] = 0,
    recurring: Annotated[bool, typer.Option("--recurring", help=_RECURRING)] = False,
    trial_days: Annotated[int, typer.Option(min=0, help=_TRIAL)] = 0,
    notice_days: Annotated[list[int] | None, typer.Option(min=1, max=366, help=_NOTICES)] = None,
    machines: Annotated[int, typer.Option(min=0, help="Seats; 0 = unlimited.")] = 1,
    seat_releases: Annotated[int, _RELEASES] = 3,
    trial: Annotated[bool, typer.Option("--trial", help="Mark licenses as trials.")] = False,
    entitlement: Annotated[list[str] | None, typer.Option(help="A feature it unlocks; repeatable.")] = None,
    price: Annotated[str | None, typer.Option(help="Instead of the product's price, in the same currency.")] = None,
    tip_recipient: TipRecipient = None,
    tip_bps: TipShare = None,
    tip_label: TipLabel = "",
    bullet: Annotated[list[str] | None, typer.Option(help="A line that buyers read; repeatable.")] = None,
    position: Annotated[int, typer.Option(help=_POSITION)] = 0,
    hidden: Annotated[bool, typer.Option("--hidden", help=_HIDDEN)] = False,
    as_json: AsJson = False,
) -> None:
    """Add a policy to a product."""
    terms = Terms(
        duration_seconds=None if days is None else days * DAY,
        grace_seconds=grace_days * DAY,
        is_recurring=recurring,
        trial_days=trial_days,
        expiry_notice_days=Terms.expiry_notice_days if notice_days is None else tuple(notice_days),
        max_machines=machines,
        releases_per_seat=seat_releases,
        is_trial=trial,
        entitlements=tuple(entitlement or ()),
        tip_recipient=tip_recipient,
        tip_pct_bps=tip_bps,
        tip_label=tip_label,
    )
    with transaction() as session:
        own = None if price is None else _in_currency_of(require_product(session, product), price)
        terms, display = replace(terms, price_amount=own), Display(tuple(bullet or ()), position, hidden)
        policy = add_policy(session, product, slug, name or slug, terms, description, display, actor="cli")
    show_record({"id": str(policy.id), "product": product, "slug": policy.slug}, as_json)


def _in_currency_of(product: Product, price: str) -> int:
    own = parse_price(price)
    if own.currency != product.price_currency:
        raise InvalidInput(f"{product.slug} is priced in {product.price_currency}; give the policy's price in it, too.")
    return own.amount


@app.command()
def edit(
    product: Product_,
    policy: Policy_,
    name: Annotated[str | None, typer.Option(help="The name that buyers see.")] = None,
    description: Annotated[str | None, typer.Option(help="What it includes.")] = None,
    days: Annotated[int | None, typer.Option(min=0, help="How long a license lasts; 0 = for ever.")] = None,
    grace_days: Annotated[int | None, typer.Option(min=0, help="How long it still counts after that.")] = None,
    recurring: Annotated[bool | None, typer.Option(help=_RECURRING)] = None,
    trial_days: Annotated[int | None, typer.Option(min=0, help=_TRIAL)] = None,
    notice_days: Annotated[list[int] | None, typer.Option(min=0, max=366, help=_NOTICES)] = None,
    machines: Annotated[int | None, typer.Option(min=0, help="Seats; 0 = unlimited.")] = None,
    seat_releases: Annotated[int | None, _RELEASES] = None,
    trial: Annotated[bool | None, typer.Option(help="Mark licenses as trials.")] = None,
    entitlement: Annotated[
        list[str] | None, typer.Option(help="All features it unlocks; repeatable; '' takes them back.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="Instead of the product's price, in the same currency; '' takes it back.")
    ] = None,
    tip_recipient: Annotated[
        str | None, typer.Option(help="A Lightning Address that gets a share of what is paid; '' takes it back.")
    ] = None,
    tip_bps: TipShare = None,
    tip_label: Annotated[str | None, typer.Option(help="What the tip is for, as your records should say.")] = None,
    highlight: Annotated[bool | None, typer.Option(help="Show it to buyers as the one to take.")] = None,
    bullet: Annotated[
        list[str] | None, typer.Option(help="All lines that buyers read; repeatable; '' takes them back.")
    ] = None,
    position: Annotated[int | None, typer.Option(help=_POSITION)] = None,
    hidden: Annotated[bool | None, typer.Option(help=_HIDDEN)] = None,
) -> None:
    """Change the terms of licenses issued from now on. Issued licenses keep their terms."""
    changes: dict[str, object] = {
        "name": name,
        "description": description,
        "grace_seconds": None if grace_days is None else grace_days * DAY,
        "is_recurring": recurring,
        "trial_days": trial_days,
        "expiry_notice_days": None if notice_days is None else [number for number in notice_days if number],
        "max_machines": machines,
        "releases_per_seat": seat_releases,
        "is_trial": trial,
        "entitlements": None if entitlement is None else [slug for slug in entitlement if slug],
        "tip_recipient": tip_recipient,
        "tip_pct_bps": tip_bps,
        "tip_label": tip_label,
        "highlighted": highlight,
        "bullets": None if bullet is None else [line for line in bullet if line],
        "position": position,
        "hidden": hidden,
    }
    changes = {field: value for field, value in changes.items() if value is not None}
    if tip_recipient is not None and not tip_recipient.strip():
        changes |= {"tip_recipient": None, "tip_pct_bps": None}
    if days is not None:
        changes["duration_seconds"] = days * DAY or None
    _change(product, policy, changes, price)


@app.command()
def archive(product: Product_, policy: Policy_) -> None:
    """Take a policy out of sale. Issued licenses stay unchanged."""
    _change(product, policy, {"archived": True})


@app.command()
def unarchive(product: Product_, policy: Policy_) -> None:
    """Put a policy back on sale."""
    _change(product, policy, {"archived": False})


def _change(product: str, policy: str, changes: dict[str, object], price: str | None = None) -> None:
    with transaction() as session:
        if price is not None:
            sold = require_product(session, product)
            changes["price_amount"] = _in_currency_of(sold, price) if price.strip() else None
        if not changes:
            raise InvalidInput("say what to change; `--help` lists it.")
        change_policy(session, product, policy, changes, "cli")
    say(f"policy {policy} of {product} is changed")


@app.command("list")
def list_(
    product: Annotated[str | None, typer.Argument(help="Only of this product.")] = None, as_json: AsJson = False
) -> None:
    """List policies."""
    with reading() as session:
        rows = list_policies(session, product)
    show_rows(
        [
            {
                "product": sold.slug,
                "policy": row.slug,
                "price": amount_text(amount_of(sold, row), sold.price_currency),
                "days": None if row.duration_seconds is None else row.duration_seconds // DAY,
                "machines": row.max_machines or "unlimited",
                "seat_releases": row.releases_per_seat,
                "recurring": row.is_recurring,
                "trial_days": row.trial_days,
                "notice_days": row.expiry_notice_days,
                "trial": row.is_trial,
                "entitlements": row.entitlements,
                "hidden": row.hidden,
                "archived": row.archived_at,
            }
            for row, sold in rows
        ],
        as_json,
    )
