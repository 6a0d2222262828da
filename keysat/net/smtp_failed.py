"""Why a mail server didn't take a message, and whether that is about the message."""

from __future__ import annotations

from keysat.core.errors import RemoteError
from keysat.core.hints import Hint

_CLOSING = 421


class SmtpFailed(RemoteError):
    """A message was not taken. `stage` is how far it came.

    The stages are connect, starttls, login, sender, recipient, message (before its text was sent) and confirmation
    (after that). `code` is the server's reply, or None without one.
    """

    def __init__(self, server: str, stage: str, cause: str, code: int | None = None, hint: Hint | None = None) -> None:
        self.stage, self.code = stage, code
        super().__init__(f"the mail server {server} {cause}.", hint)

    @property
    def of_this_message(self) -> bool:
        """Whether the server replied about the recipient or the message, and another message may fare better.

        So it is if the server got the message and didn't reply. It may have taken it, so that each attempt may make
        another copy.
        """
        if self.code is None:
            return self.stage == "confirmation"
        return self.code != _CLOSING and self.stage in {"recipient", "message", "confirmation"}

    @property
    def permanent(self) -> bool:
        """Whether the server refuses this message for good (5xx)."""
        return self.of_this_message and self.code is not None and self.code >= 500
