"""Sweeps count the entries that can't be read."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("skipped", sa.Integer(), server_default="0", nullable=False))
