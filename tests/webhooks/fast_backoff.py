"""Keysat's app with waits a hundredth, and leases of dead senders a tenth as long. For stories."""

from datetime import timedelta

from keysat.webhooks import backoff, outbox

backoff.DELAYS = tuple(delay / 100 for delay in backoff.DELAYS)
outbox.LEASE = timedelta(seconds=3)

from keysat.worker import app

__all__ = ["app"]
