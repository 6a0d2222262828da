"""How long nobody could pay a renewal while its license was in its grace period."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("licenses", sa.Column("outage_seconds", sa.Integer(), server_default="0", nullable=False))
    op.create_check_constraint(op.f("ck_licenses_outage_seconds"), "licenses", "outage_seconds >= 0")
    op.create_index(
        "ix_licenses_renewable",
        "licenses",
        ["expires_at"],
        postgresql_where=sa.text("is_recurring AND status = 'active'"),
    )
