"""PostgreSQL is the queue of record: what is due is claimed, released and sent here, whatever it is."""
