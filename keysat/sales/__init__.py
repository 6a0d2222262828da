"""Sales: turn a buyer's order into an invoice at the provider or a free license."""
