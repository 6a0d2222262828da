"""The work queue. PostgreSQL is the source of truth: pending rows of any kind are claimed, released and sent here."""
