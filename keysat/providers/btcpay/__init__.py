"""The BTCPay Server adapter."""
