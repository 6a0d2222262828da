"""Outgoing webhooks: the operator's endpoints, and the signed deliveries to them with retries."""
