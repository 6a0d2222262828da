"""`keysat code`: discount codes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated

import typer

from keysat.catalog.products import require_product
from keysat.cli.output import AsJson, Row, say, show_record, show_rows
from keysat.cli.product import parse_price
from keysat.codes.edit import change_code
from keysat.codes.manage import NewCode, add_code, disable_code, recount
from keysat.codes.report import ReportedCode, list_codes, report_code, slots
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput
from keysat.core.money import Money, amount_text
from keysat.models import DiscountCode
from keysat.models.discount_code import CodeKind

app = typer.Typer(help="Discount codes.", no_args_is_help=True)

Code = Annotated[str, typer.Argument(metavar="CODE", help="In any case.")]


@app.command()
def add(
    code: Annotated[str, typer.Argument(metavar="CODE", help="What buyers type: letters, digits, '.', '_', '-'.")],
    percent: Annotated[str | None, typer.Option(help="Takes off so many percent, as 25 or 12.5.")] = None,
    fixed_sats: Annotated[int | None, typer.Option(help="Takes off so many sats.")] = None,
    price: Annotated[str | None, typer.Option(help="Sets the price, as 15000 (sats) or '9.99 EUR'.")] = None,
    free: Annotated[bool, typer.Option("--free", help="Gives the license for nothing.")] = False,
    max_uses: Annotated[int | None, typer.Option(help="How many buyers may use it; default: any number.")] = None,
    expires: Annotated[str | None, typer.Option(help="The last day, UTC, as 2027-01-31; default: never.")] = None,
    product: Annotated[str | None, typer.Option(help="The slug of the only product it is for.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="The slug of a policy it is for; repeatable.")] = None,
    per_buyer: Annotated[int | None, typer.Option(help="How often one e-mail address may use it.")] = None,
    featured: Annotated[bool, typer.Option("--featured", help="Show it to everybody.")] = False,
    description: Annotated[str, typer.Option(help="What it is for; buyers don't see it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a code. Its effect is exactly one of --percent, --fixed-sats, --price and --free."""
    kind, worth = _effect(percent, fixed_sats, price, free)
    with transaction() as session:
        row = add_code(
            session,
            NewCode(
                code,
                kind,
                worth.amount,
                worth.currency,
                max_uses,
                None if product is None else require_product(session, product).id,
                tuple(policy or ()),
                per_buyer,
                featured,
                None if expires is None else _end_of(expires),
                description,
            ),
            actor="cli",
        )
    show_record({"id": str(row.id), "code": row.code}, as_json)


@app.command()
def edit(
    code: Code,
    expires: Annotated[str | None, typer.Option(help="The last day, UTC, as 2027-01-31; '' = never.")] = None,
    max_uses: Annotated[int | None, typer.Option(help="How many buyers may use it; 0 = any number.")] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="All policies it is for; repeatable; '' = every policy.")
    ] = None,
    per_buyer: Annotated[
        int | None, typer.Option(help="How often one e-mail address may use it; 0 = any number.")
    ] = None,
    featured: Annotated[bool | None, typer.Option(help="Show it to everybody.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for; buyers don't see it.")] = None,
) -> None:
    """Change a code for new purchases. What it takes off never changes: add another code for that."""
    changes: dict[str, object] = {
        "policies": None if policy is None else [slug for slug in policy if slug],
        "featured": featured,
        "description": description,
    }
    changes = {field: value for field, value in changes.items() if value is not None}
    if expires is not None:
        changes["expires_at"] = _end_of(expires) if expires.strip() else None
    if max_uses is not None:
        changes["max_uses"] = max_uses or None
    if per_buyer is not None:
        changes["max_uses_per_buyer"] = per_buyer or None
    if not changes:
        raise InvalidInput("say what to change; `--help` lists it.")
    with transaction() as session:
        row = change_code(session, code, changes, actor="cli")
    say(f"code {row.code} is changed")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the codes, newest first."""
    with reading() as session:
        found = list_codes(session)
    show_rows([_record(code) for code in found], as_json)


@app.command()
def show(code: Code, as_json: AsJson = False) -> None:
    """Show a code and the number of its redemptions per status."""
    with reading() as session:
        found = report_code(session, code)
        counts = slots(session, found.row.id)
    show_record({**_record(found), **counts, "description": found.row.description}, as_json)


@app.command()
def disable(code: Code) -> None:
    """Disable a code for new purchases. Purchases already started keep it."""
    with transaction() as session:
        row = disable_code(session, code, actor="cli")
    say(f"code {row.code} is disabled")


@app.command("recount")
def recount_(code: Code) -> None:
    """Set a code's counter to match its redemptions, if `keysat status` reports a difference."""
    with transaction() as session:
        row = recount(session, code, actor="cli")
    say(f"code {row.code} counts {row.uses} slots")


def _effect(percent: str | None, fixed_sats: int | None, price: str | None, free: bool) -> tuple[CodeKind, Money]:
    if sum([percent is not None, fixed_sats is not None, price is not None, free]) != 1:
        raise InvalidInput("say what the code does: one of --percent, --fixed-sats, --price and --free.")
    if percent is not None:
        return CodeKind.PERCENT, Money(_basis_points(percent), "BTC")
    if fixed_sats is not None:
        return CodeKind.FIXED_SATS, Money(fixed_sats, "BTC")
    return (CodeKind.FREE_LICENSE, Money(0, "BTC")) if price is None else (CodeKind.SET_PRICE, parse_price(price))


def _basis_points(percent: str) -> int:
    try:
        points = Decimal(percent.strip().removesuffix("%").strip()) * 100
    except ArithmeticError:
        points = Decimal(-1)
    if not points.is_finite() or not 0 < points <= 10_000 or points != int(points):
        raise InvalidInput(f"percentage {percent[:20]!r} must be 0.01 to 100, with two decimals at most.")
    return int(points)


def _end_of(day: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{day[:20]!r} is no day; write it as 2027-01-31.") from None


def _record(found: ReportedCode) -> Row:
    row = found.row
    return {
        "code": row.code,
        "effect": _effect_text(row),
        "uses": row.uses,
        "max_uses": row.max_uses,
        "state": found.state,
        "product": found.product,
        "policies": found.policies or "all",
        "per_buyer": row.max_uses_per_buyer,
        "featured": row.featured,
        "expires": row.expires_at,
    }


def _effect_text(row: DiscountCode) -> str:
    effects = {
        CodeKind.PERCENT: f"{Decimal(row.amount) / 100:f} % off",
        CodeKind.FIXED_SATS: f"{amount_text(row.amount, row.currency)} off",
        CodeKind.SET_PRICE: f"costs {amount_text(row.amount, row.currency)}",
        CodeKind.FREE_LICENSE: "free",
    }
    return effects.get(row.kind, str(row.kind))
