"""Every invoice that a tip was ever committed to: none is accepted for a second one, not even for the same tip."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tip_payments",
        sa.Column("payment_hash", sa.String(), nullable=False),
        sa.Column("tip_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["tip_id"], ["tips.id"], name=op.f("fk_tip_payments_tip_id")),
        sa.PrimaryKeyConstraint("payment_hash", name=op.f("pk_tip_payments")),
    )
    op.create_index(op.f("ix_tip_payments_tip_id"), "tip_payments", ["tip_id"])
    op.execute(
        "INSERT INTO tip_payments (payment_hash, tip_id)"
        " SELECT payment_hash, id FROM tips WHERE payment_hash IS NOT NULL"
    )
