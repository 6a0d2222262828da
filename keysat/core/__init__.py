"""What every program has: settings, errors, money, the clock, logs, metrics, secrets, the database. No domain in it."""
