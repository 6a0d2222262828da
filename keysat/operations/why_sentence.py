"""Put the state of an invoice into one sentence, with the amounts and times."""

from __future__ import annotations

from keysat.operations.why import State, Why

SENTENCES: dict[State, str] = {
    State.REVERSED: "the payment went back {became}",
    State.SETTLED_AGAIN: "the payment went back {became}, and the provider calls it settled again",
    State.SHORT: "{paid} of {price} were paid, {short} short",
    State.LATE: "{paid} of {price} were paid after the invoice had expired",
    State.NEVER_CONFIRMED: "{unconfirmed}",
    State.OTHER_CURRENCY: "it was paid in another currency than the {price} charged",
    State.REFUNDED: "the provider reports that the payment was refunded",
    State.INVALIDATED: "the provider calls the payment invalid after it had settled",
    State.IN_REVIEW: "it waits for your decision ({cause})",
    State.EXCESS: "{price} were paid as the rest of another invoice, which needs it no more; give the money back",
    State.DISMISSED: "a person dismissed its review, so no license follows from it{part}",
    State.CREDITED: "it is the rest of another invoice and was credited there",
    State.LICENSED: "the license was issued and is {license_status}{over}",
    State.LICENSE_DUE: "it is paid{over}, and its license is due; the next scan issues it, if worker and beat run",
    State.NEVER_MADE: "the provider made no invoice for it, so it couldn't be paid",
    State.ACCOUNT_REJECTED: "account {account} is paused ({cause}), so the provider isn't called",
    State.ACCOUNT_PAUSED: "account {account} is paused ({cause}), so the provider isn't called",
    State.ACCOUNT_FAILING: "account {account} fails ({cause}) and isn't called until {until}; it goes on by itself",
    State.STUCK: "the last check brought no usable response: {cause}",
    State.OVERDUE: "it should have been checked at {due} and wasn't: do worker and beat run?",
    State.PART_PAID: "{paid} of {price} were paid so far; {following}",
    State.SEEN: "{seen} were seen and aren't confirmed yet; the license follows by itself; {following}",
    State.UNCHECKED: "it was not checked yet; {following}, if worker and beat run",
    State.EXPIRED: "it expired unpaid; {following}",
    State.INVALID: "no payment was seen ({status}); {following}",
    State.WAITING: "no payment was seen ({status}); {following}",
}


def sentence(why: Why) -> str:
    """Return the sentence, without what to do next."""
    stated = SENTENCES[why.state].format_map(_facts(why))
    return f"{stated}; {why.unhandled} webhooks about it wait to be handled" if why.unhandled else stated


def _facts(why: Why) -> dict[str, object]:
    due = why.next_check_at
    return {
        **why.__dict__,
        "short": why.short,
        "over": "" if why.over is None else f" ({why.over} more than the price were paid)",
        "part": f"; {why.paid} of {why.price} were paid" if why.paid.amount else "",
        "seen": why.paid if why.paid.amount else why.price,
        "unconfirmed": _unconfirmed(why),
        "became": "before a license was issued"
        if why.license_id is None
        else f"and the license is {why.license_status}",
        "until": why.until and f"{why.until:%H:%M:%S} UTC",
        "due": due and f"{due:%H:%M:%S} UTC",
        "following": (
            "it is no longer checked" if due is None else f"the next check is at {max(due, why.now):%H:%M:%S} UTC"
        ),
    }


def _unconfirmed(why: Why) -> str:
    if why.paid.amount:
        return f"{why.paid} of {why.price} were paid and never confirmed; it settles by itself should they be"
    return f"a payment of {why.price} was seen and never confirmed; it settles by itself should it be"
