"""Shared by all programs: settings, errors, money, clock, logs, metrics, secrets, database. No domain logic."""
