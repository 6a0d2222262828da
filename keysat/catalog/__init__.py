"""The catalog: products and their policies."""
