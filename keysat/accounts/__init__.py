"""Provider accounts: one store at one provider, its credentials, its breakers and the webhooks that it sends."""
