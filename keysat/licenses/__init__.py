"""Licenses: the key format, the signing key, and finding or withdrawing licenses."""
