"""The Zaprite adapter."""
