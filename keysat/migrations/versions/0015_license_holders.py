"""Licenses have holders, other than their buyers too, and keys that can be replaced."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("licenses", sa.Column("holder_email", sa.String()))
    op.add_column("licenses", sa.Column("rotated_at", sa.DateTime(timezone=True)))
    op.add_column("licenses", sa.Column("transferred_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_licenses_holder_email",
        "licenses",
        [sa.text("lower(holder_email)")],
        postgresql_where=sa.text("holder_email IS NOT NULL"),
    )
