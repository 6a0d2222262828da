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
    op.create_table(
        "recovery_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name=op.f("ck_recovery_links_secret_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_links")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_recovery_links_secret_hash")),
    )
    op.create_index(op.f("ix_recovery_links_email"), "recovery_links", ["email"], unique=False)
