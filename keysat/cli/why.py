"""Why a buyer has no license yet, in one sentence with the exact next command."""

from __future__ import annotations

from keysat.operations.why import REMEDIES, Remedy, State, Why
from keysat.operations.why_sentence import sentence

_DECIDE = (
    ": `keysat invoice settle {invoice} --note ...` issues the license, `keysat invoice dismiss {invoice} --note ...` "
    "closes the review, as after a refund by hand"
)
# What follows the state in the sentence. Other states need no command.
COMMANDS: dict[State, str] = {
    **{state: _DECIDE for state, remedies in REMEDIES.items() if Remedy.SETTLE in remedies},
    State.REVERSED: "; `keysat invoice restore {invoice} --note ...` undoes that",
    State.SETTLED_AGAIN: (
        ": `keysat invoice restore {invoice} --note ...` undoes the reversal, `keysat invoice dismiss {invoice} "
        "--note ...` leaves it"
    ),
    State.ACCOUNT_REJECTED: ": `keysat provider renew {account}` enters a new API key",
    State.ACCOUNT_PAUSED: ": `keysat provider resume {account}`",
    State.OVERDUE: " `keysat doctor`",
}


def why_line(why: Why) -> str:
    """Return the sentence with the command."""
    command = COMMANDS.get(why.state, "").format(invoice=why.invoice_id, account=why.account)
    return sentence(why, command)
