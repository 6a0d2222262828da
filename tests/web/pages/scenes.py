"""Every page but those of a purchase's states: how it comes about, its path, its status and its titles."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import func, update

from keysat.catalog.changes import change_policy, change_product
from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.models import License, Policy, Product
from keysat.models.discount_code import CodeKind
from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.builders import load_licenses, make_account, make_catalog, set_columns, set_license
from tests.web.pages.states import make_purchase
from tests.web.pages.titles import OTHER_TITLES, TITLES


@dataclass(frozen=True)
class Scene:
    """`prepare` returns the path. A browser follows the payment page's link to `checkout`, so the test has one."""

    prepare: Callable[[str], str]
    status: int
    titles: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)


def furnish():
    """A shop with several policies, products and a code."""
    catalog = [{"slug": "export", "name": "Export to PDF", "description": "also in print quality"}]
    with transaction() as session:
        product = session.query(Product).one()
        product.name, product.entitlements_catalog = "Editor", catalog
        product.description = "Write, arrange and publish long texts, alone or together."
        session.query(Policy).one().description = "For one person, for good."
        yearly = Terms(
            duration_seconds=365 * 86_400, max_machines=3, entitlements=("export", "sync"), price_amount=9_000
        )
        add_policy(session, "editor", "yearly", "One year", yearly, "All new versions within a year.", actor="cli")
        trial = Terms(duration_seconds=14 * 86_400, is_trial=True, price_amount=0)
        add_policy(session, "editor", "trial", "Try it", trial, actor="cli")
        add_code(session, NewCode("SPRING", CodeKind.PERCENT, 2_500), actor="cli")
    make_catalog("player")


def _furnished(path: str) -> Callable[[str], str]:
    def prepare(_: str) -> str:
        furnish()
        return path

    return prepare


def _archive(path: str) -> Callable[[str], str]:
    def prepare(_: str) -> str:
        with transaction() as session:
            change_product(session, "editor", {"archived": True}, "cli")
        return path

    return prepare


def _withdraw(_: str) -> str:
    """Its only policy was withdrawn, as before another one is added."""
    with transaction() as session:
        change_policy(session, "editor", "standard", {"archived": True}, "cli")
    return "/buy/editor"


def _pay(checkout: str) -> str:
    invoice_id = make_purchase(State.WAITING)
    set_columns(invoice_id, checkout_url=checkout)
    return f"{page_of(invoice_id)}/pay"


def _lightning(_: str) -> str:
    """A seller whose provider tells payment hashes."""
    make_account("lightning", "btcpay", "https://btcpay.example.com")
    return "/recover"


def _owned(**facts: object) -> Callable[[str], str]:
    """A purchase whose license has these columns."""

    def prepare(_: str) -> str:
        invoice_id = make_purchase(State.LICENSED)
        (row,) = load_licenses(invoice_id)
        set_license(row.id, **facts)
        return page_of(invoice_id)

    return prepare


def _prepare(_: str) -> str:
    """The provider creates the invoice at this moment."""
    invoice_id = make_purchase(State.WAITING)
    set_columns(invoice_id, provider_invoice_id=None, checkout_url=None)
    return page_of(invoice_id)


def _reversed(_: str) -> str:
    """The first payment went back, and the money of the rest waits for the seller."""
    invoice_id = make_purchase(State.REVERSED)
    set_columns(make_purchase(State.EXCESS), rest_of_id=invoice_id, amount=12_000)
    return page_of(invoice_id)


def _unsigned(_: str) -> str:
    """The license was signed with a key that this server doesn't have."""
    invoice_id = make_purchase(State.LICENSED)
    with transaction() as session:
        session.execute(update(License).values(signer="another"))
    return page_of(invoice_id)


def _crash(_: str) -> str:
    """A row that no version of Keysat writes."""
    with transaction() as session:
        session.execute(update(Product).values(entitlements_catalog=["of another shape"]))
    return "/buy/editor"


_YEAR = timedelta(days=365)
_BUY = {"en": "Buy Editor", "de": "Editor kaufen"}
_HOME = {"en": "Software licenses", "de": "Softwarelizenzen"}
SCENES = {
    "home": Scene(_furnished("/"), 200, _HOME),
    "home-empty": Scene(_archive("/"), 200, _HOME),
    "buy": Scene(_furnished("/buy/editor?code=spring&email=buyer@example.com"), 200, _BUY),
    "buy-wrong": Scene(_furnished("/buy/editor?code=WINTER&email=nobody&policy=none"), 400, _BUY),
    "gone": Scene(_archive("/buy/editor"), 410, {"en": "No longer sold", "de": "Nicht mehr im Verkauf"}),
    "not-on-sale": Scene(_withdraw, 404, {"en": "Not on sale", "de": "Nicht im Verkauf"}),
    "pay": Scene(_pay, 200, {"en": "Taking you to the payment page", "de": "Sie werden zur Zahlung weitergeleitet"}),
    "recover": Scene(lambda _: "/recover", 200, {"en": "I lost my key", "de": "Ich habe meinen Schlüssel verloren"}),
    "recover-payment": Scene(_lightning, 200, {"en": "I lost my key", "de": "Ich habe meinen Schlüssel verloren"}),
    "me": Scene(lambda _: "/me", 200, {"en": "Your licenses", "de": "Ihre Lizenzen"}),
    "not-found": Scene(lambda _: "/p/nothing", 404, {"en": "Page not found", "de": "Seite nicht gefunden"}),
    "limited": Scene(
        lambda _: "/buy/editor?code=GUESS",
        429,
        {"en": "Too many requests", "de": "Zu viele Anfragen"},
        {"KEYSAT_RATE_PURCHASE": "1/hour"},
    ),
    "preparing": Scene(_prepare, 200, OTHER_TITLES["preparing"]),
    "suspended": Scene(_owned(status="suspended"), 200, OTHER_TITLES["suspended"]),
    "revoked": Scene(_owned(status="revoked"), 200, OTHER_TITLES["revoked"]),
    "transferred": Scene(_owned(transferred_at=func.now()), 200, OTHER_TITLES["transferred"]),
    "ended": Scene(_owned(issued_at=func.now() - 2 * _YEAR, expires_at=func.now() - _YEAR), 200, OTHER_TITLES["ended"]),
    "rest-set-aside": Scene(_reversed, 200, TITLES[State.REVERSED]),
    "failed": Scene(_crash, 500, {"en": "Something went wrong", "de": "Etwas ist schiefgegangen"}),
    "unavailable": Scene(_unsigned, 503, {"en": "Back in a moment", "de": "Gleich wieder da"}),
}
