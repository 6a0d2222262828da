"""What a provider's invoice can be, and become."""

from dataclasses import dataclass, field

from keysat.core.money import Money
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import InvoiceSnapshot, ProviderStatus
from keysat.providers.fake import FakeServer
from tests.builders import PRICE

_S, _E = ProviderStatus, PaymentException
# What a provider's invoice can become next: status, exception, paid share of the price.
_NEXT = {
    "pending": ("processing", "paid", "expired", "short", "marked", "odd"),
    "processing": ("paid", "invalid"),
    "paid": ("refunded", "invalid", "paid"),
    "over": ("refunded",),
    "expired": ("late", "half", "expired", "over"),
    "half": ("marked", "invalid", "half"),
    "odd": ("paid", "pending"),
    "late": ("late",),
    "short": ("short",),
    "marked": ("invalid", "marked"),
    "invalid": ("invalid",),
    "refunded": ("refunded",),
}
_SAYS = {
    "pending": (_S.PENDING, _E.NONE, 0),
    "processing": (_S.PROCESSING, _E.NONE, 1),
    "paid": (_S.SETTLED, _E.NONE, 1),
    "over": (_S.EXPIRED, _E.OVER, 2),
    "expired": (_S.EXPIRED, _E.NONE, 0),
    "late": (_S.EXPIRED, _E.LATE, 1),
    "half": (_S.EXPIRED, _E.PARTIAL, 0.5),
    "short": (_S.SETTLED, _E.NONE, 0.5),
    "marked": (_S.SETTLED, _E.MARKED, 0),
    "odd": (_S.UNKNOWN, _E.NONE, 0),
    "invalid": (_S.INVALID, _E.NONE, 0),
    "refunded": (_S.REFUNDED, _E.NONE, 1),
}
PAID, GONE = {"paid", "late", "over", "marked"}, {"invalid", "refunded"}


@dataclass
class Life:
    """One invoice at the provider: its state, all its former states, and bad news that a webhook announced."""

    theirs: str
    state: str = "pending"
    was: set[str] = field(default_factory=set)
    reported_loss: bool = False

    def go_on(self, server: FakeServer, random) -> None:
        """Become something else, by chance."""
        self.state = random.choice(_NEXT[self.state])
        self.was.add(self.state)
        status, exception, share = _SAYS[self.state]
        server.say(self.theirs, status, exception, int(share * PRICE))

    def open_at(self, server: FakeServer, ours) -> None:
        """Begin as an unpaid invoice."""
        price, nothing = Money(PRICE, "BTC"), Money(0, "BTC")
        server.snapshots[self.theirs] = InvoiceSnapshot(
            self.theirs, _S.PENDING, _E.NONE, price, nothing, str(ours), "pending/none"
        )
