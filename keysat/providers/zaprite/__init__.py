"""Zaprite."""
