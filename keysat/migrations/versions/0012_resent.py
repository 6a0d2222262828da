"""A tip remembers that its invoice was sent more than once: a failure may then be that of one request alone."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tips", sa.Column("resent", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE tips SET resent = true WHERE status = 'paying'")  # nobody knows of these
