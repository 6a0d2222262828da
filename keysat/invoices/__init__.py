"""Invoices until they settle: opening them, scheduling their checks, and claiming the ones to check."""
