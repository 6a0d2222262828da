"""Sales: from what a buyer wants to an invoice at the provider, or to a free license."""
