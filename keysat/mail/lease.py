"""Keep a mail's lease while the mail server takes its time, which may be much longer than a lease."""

from __future__ import annotations

import threading
from typing import Self

from keysat.core.db import Database
from keysat.core.errors import KeysatError
from keysat.core.logs import get_logger
from keysat.mail.mail_queue import LeasedMail, renew_mail, renewal_seconds

log = get_logger(__name__)


class HeldLease:
    """Renews the lease of a mail in a thread, until the block ends. `current` is the lease as it was renewed last.

    So a lease stays short. The mail of a sender that died is soon sent by another one.
    """

    def __init__(self, database: Database, leased: LeasedMail) -> None:
        self.current = leased
        self._database = database
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="mail-lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(renewal_seconds()):
            try:
                with self._database.transaction() as session:
                    renewed = renew_mail(session, self.current)
            except KeysatError as error:  # the database may be back for the next renewal
                log.warning("a mail's lease wasn't renewed", mail_id=str(self.current.mail_id), reason=str(error))
                continue
            if renewed is None:  # another sender has the mail
                return
            self.current = renewed
