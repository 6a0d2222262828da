"""Renewals: policies that renew, subscriptions, invoices for a license, and the periods that they added."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# Workers of the version before take any settled invoice for a purchase.
_GUARD = """
CREATE FUNCTION keysat_no_license_of_a_renewal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM invoices WHERE id = NEW.invoice_id AND target_license_id IS NOT NULL) THEN
        RAISE EXCEPTION 'invoice % renews a license, so it gets none of its own', NEW.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.add_column("policies", sa.Column("is_recurring", sa.Boolean(), server_default="false", nullable=False))
    op.create_check_constraint(
        op.f("ck_policies_is_recurring"), "policies", "NOT is_recurring OR duration_seconds IS NOT NULL"
    )
    op.add_column("licenses", sa.Column("is_recurring", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("license_id", sa.Uuid(), nullable=False),
        sa.Column("provider_account_id", sa.Uuid(), nullable=True),
        sa.Column("period_seconds", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("period_seconds > 0", name=op.f("ck_subscriptions_period_seconds")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_subscriptions_amount")),
        sa.ForeignKeyConstraint(["license_id"], ["licenses.id"], name=op.f("fk_subscriptions_license_id")),
        sa.ForeignKeyConstraint(
            ["provider_account_id"], ["provider_accounts.id"], name=op.f("fk_subscriptions_provider_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("license_id", name=op.f("uq_subscriptions_license_id")),
    )
    op.add_column("invoices", sa.Column("target_license_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_invoices_target_license_id"), "invoices", "licenses", ["target_license_id"], ["id"])
    op.create_check_constraint(
        op.f("ck_invoices_target_license_id"), "invoices", "target_license_id IS NULL OR rest_of_id IS NULL"
    )
    op.create_index(
        "ix_invoices_target_license_id",
        "invoices",
        ["target_license_id"],
        postgresql_where=sa.text("target_license_id IS NOT NULL"),
    )
    op.create_table(
        "license_extensions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("license_id", sa.Uuid(), nullable=False),
        sa.Column("period_seconds", sa.Integer(), nullable=False),
        sa.Column("previous_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("new_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("extended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("period_seconds > 0", name=op.f("ck_license_extensions_period_seconds")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_license_extensions_invoice_id")),
        sa.ForeignKeyConstraint(["license_id"], ["licenses.id"], name=op.f("fk_license_extensions_license_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_extensions")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_license_extensions_invoice_id")),
    )
    op.create_index(op.f("ix_license_extensions_license_id"), "license_extensions", ["license_id"])
    op.execute(_GUARD)
    op.execute(
        "CREATE TRIGGER no_license_of_a_renewal BEFORE INSERT ON licenses FOR EACH ROW"
        " WHEN (NEW.invoice_id IS NOT NULL) EXECUTE FUNCTION keysat_no_license_of_a_renewal()"
    )
    # Each payment for a license has its own tip.
    op.drop_constraint(op.f("uq_tips_license_id_recipient"), "tips", type_="unique")
    op.create_unique_constraint(op.f("uq_tips_invoice_id_recipient"), "tips", ["invoice_id", "recipient"])
    op.drop_constraint(op.f("ck_mails_kind"), "mails", type_="check")
    op.create_check_constraint(
        op.f("ck_mails_kind"),
        "mails",
        "kind IN ('receipt', 'seen', 'short', 'reversed', 'suspended', 'revoked', 'restored', 'recovery', 'renewed')",
    )
