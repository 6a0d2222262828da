"""Invoices until they settle: opening them, when to look at the provider again, and claiming those that are due."""
