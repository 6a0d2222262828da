"""Subscriptions: the terms on which a license is renewed, and what paid renewals add to it."""
