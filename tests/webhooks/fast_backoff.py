"""Keysat's app with waits a hundredth, and leases of dead senders a tenth as long. For stories."""

from datetime import timedelta

from keysat.webhooks import backoff, delivery_queue

backoff.DELAYS = tuple(delay / 100 for delay in backoff.DELAYS)
delivery_queue.LEASE = timedelta(seconds=3)

from keysat.tasks.app import app

__all__ = ["app"]
