"""Keysat's app with waits a hundredth, and leases of dead senders a tenth as long. For stories."""

from datetime import timedelta

from keysat.webhooks import delivery_queue

delivery_queue.DELAYS = tuple(delay / 100 for delay in delivery_queue.DELAYS)
delivery_queue.LEASE = timedelta(seconds=3)

from keysat.tasks.app import app

__all__ = ["app"]
