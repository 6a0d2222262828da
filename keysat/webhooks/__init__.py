"""Webhooks: those that providers send us, kept in the inbox until they are handled."""
