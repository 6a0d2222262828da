"""What a worker does at its start. Only workers import it: beat and Flower need none of its libraries."""

from __future__ import annotations

import gc

from keysat.core import metrics
from keysat.core.db import engine, forget_connections, reading
from keysat.core.settings import load_settings
from keysat.licenses.signer import check_signer
from keysat.mail.samples import check_templates
from keysat.migrations import require_head
from keysat.net.untrusted import check_guard


def check_start(hostname: str) -> None:
    """Check that a worker can run safely, and prepare it for its pool.

    Raises:
        GuardMissing: the address guard isn't in place.
        SchemaOutdated: the schema isn't the one that this version needs. Also SchemaUnknown.
        SigningKeyMissing: the key that signs licenses isn't there.
        TemplateBroken: a template of mail can't be rendered.
    """
    check_guard()
    require_head()
    with reading() as session:
        check_signer(session, load_settings().signing_key_file)
    check_templates(load_settings())
    engine().dispose()
    metrics.record(load_settings().metrics_dir, "sender" if hostname.startswith("sender@") else "worker")
    # The pool's processes share what was imported, until a garbage collection writes to all of it.
    gc.collect()
    gc.freeze()


def begin_afresh() -> None:
    """Prepare a process of the pool after its fork."""
    forget_connections()
    # Loaded objects stay in memory. The collector delays full collections until new objects amount to a quarter of
    # the old ones. That takes thousands of tasks, and failed calls would retain what they read until then. A
    # collection resets the count.
    gc.freeze()
    gc.collect()
