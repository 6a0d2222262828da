"""Trials: once for each buyer and product."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("policies", sa.Column("trial_days", sa.Integer(), server_default="0", nullable=False))
    op.create_check_constraint(
        op.f("ck_policies_trial_days"), "policies", "trial_days >= 0 AND (trial_days = 0 OR is_recurring)"
    )
    op.add_column("invoices", sa.Column("trial_days", sa.Integer(), nullable=True))
    op.create_check_constraint(
        op.f("ck_invoices_trial_days"), "invoices", "trial_days IS NULL OR (trial_days > 0 AND amount = 0)"
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("buyer_hash", sa.LargeBinary(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(buyer_hash) = 32", name=op.f("ck_trials_buyer_hash")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_trials_product_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_trials_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("product_id", "buyer_hash", name=op.f("uq_trials_product_id_buyer_hash")),
    )
