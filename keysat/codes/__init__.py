"""Discount codes: their effect on prices, and the slots that buyers reserve."""
