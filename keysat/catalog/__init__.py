"""What is sold: products and their policies."""
