"""Licenses: the key format, the signing key, and validating or withdrawing licenses."""
