"""Alembic runs this to migrate; the connection, and so the transaction, is `keysat.migrations.upgrade`'s."""

from alembic import context

from keysat.core.db import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
