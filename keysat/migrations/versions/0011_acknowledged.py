"""A person can acknowledge that an invoice gets no usable answer, which ends its alarm."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invoices", sa.Column("acknowledged_at", sa.DateTime(timezone=True)))
