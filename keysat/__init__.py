"""Keysat: every paid invoice becomes exactly one software license."""

__version__ = "0.1.0"
