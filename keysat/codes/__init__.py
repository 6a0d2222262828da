"""Discount codes: what they make of a price, and the slots that buyers hold."""
