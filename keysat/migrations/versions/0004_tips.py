"""Tips to Lightning Addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("tip_recipient", sa.String(), nullable=True),
        sa.Column("tip_pct_bps", sa.Integer(), nullable=True),
        sa.Column("tip_label", sa.String(), server_default="", nullable=False),
    ):
        op.add_column("policies", column)
    op.create_check_constraint(op.f("ck_policies_tip_pct_bps"), "policies", "tip_pct_bps BETWEEN 1 AND 10000")
    op.create_check_constraint(op.f("ck_policies_tip"), "policies", "(tip_recipient IS NULL) = (tip_pct_bps IS NULL)")
    _tips()


def _tips() -> None:
    op.create_table(
        "tips",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("license_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("provider_account_id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("label", sa.String(), server_default="", nullable=False),
        sa.Column("amount_msat", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), server_default="owed", nullable=False),
        sa.Column("bolt11", sa.String(), nullable=True),
        sa.Column("payment_hash", sa.String(), nullable=True),
        sa.Column("payable_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paying_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fee_msat", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status IN ('owed', 'paying')) = (next_attempt_at IS NOT NULL)", name=op.f("ck_tips_next_attempt_at")
        ),
        sa.CheckConstraint("status <> 'paying' OR payment_hash IS NOT NULL", name=op.f("ck_tips_paying")),
        sa.CheckConstraint("status IN ('owed', 'paying', 'sent', 'failed', 'skipped')", name=op.f("ck_tips_status")),
        sa.CheckConstraint("amount_msat > 0", name=op.f("ck_tips_amount_msat")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_tips_invoice_id")),
        sa.ForeignKeyConstraint(["license_id"], ["licenses.id"], name=op.f("fk_tips_license_id")),
        sa.ForeignKeyConstraint(
            ["provider_account_id"], ["provider_accounts.id"], name=op.f("fk_tips_provider_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tips")),
        sa.UniqueConstraint("license_id", "recipient", name=op.f("uq_tips_license_id_recipient")),
        sa.UniqueConstraint("payment_hash", name=op.f("uq_tips_payment_hash")),
    )
    op.create_index(
        "ix_tips_due",
        "tips",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index(op.f("ix_tips_invoice_id"), "tips", ["invoice_id"], unique=False)
    op.create_index(
        "ix_tips_paying_since",
        "tips",
        ["paying_since"],
        unique=False,
        postgresql_where=sa.text("paying_since IS NOT NULL"),
    )
