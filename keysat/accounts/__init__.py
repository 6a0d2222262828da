"""Provider accounts: one store at one provider, with its credentials, circuit breakers and incoming webhooks."""
