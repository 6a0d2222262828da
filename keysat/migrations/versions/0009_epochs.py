"""Restores begin epochs, and tips of an earlier one wait for a person."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_FIRST = (
    "INSERT INTO epochs (number, identity) SELECT CASE WHEN EXISTS (SELECT FROM tips) THEN 1 ELSE 0 END, "
    "concat_ws(':', (SELECT system_identifier FROM pg_control_system()), "
    "(SELECT oid FROM pg_database WHERE datname = current_database()), 'epochs'::regclass::oid::bigint)"
)


def upgrade() -> None:
    op.create_table(
        "epochs",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_epochs")),
    )
    for table in ("invoices", "tips"):
        op.add_column(table, sa.Column("epoch", sa.Integer(), server_default="0", nullable=False))
    op.drop_constraint(op.f("ck_tips_status"), "tips")
    op.create_check_constraint(
        op.f("ck_tips_status"), "tips", "status IN ('owed', 'paying', 'sent', 'failed', 'skipped', 'held')"
    )
    # An older database with tips may be a restored one: what it owes waits for a person once.
    op.execute(_FIRST)
