"""Initial schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _audit_log()
    _products()
    _provider_accounts()
    _policies()
    _invoices()
    _licenses()


def _audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_subject_id"), "audit_log", ["subject_id"], unique=False)


def _products() -> None:
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("price_amount", sa.BigInteger(), nullable=False),
        sa.Column("price_currency", sa.String(), server_default="BTC", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9._-]{0,62}$'", name=op.f("ck_products_slug")),
        sa.CheckConstraint("price_amount >= 0", name=op.f("ck_products_price_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
        sa.UniqueConstraint("slug", name=op.f("uq_products_slug")),
    )


def _provider_accounts() -> None:
    op.create_table(
        "provider_accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("base_url", sa.String(), nullable=False),
        sa.Column("store_id", sa.String(), nullable=False),
        sa.Column("sealed_credentials", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.String(), nullable=True),
        sa.Column("failure_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.CheckConstraint("failure_count >= 0", name=op.f("ck_provider_accounts_failure_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_provider_accounts_name")),
    )


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("grace_seconds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_machines", sa.Integer(), server_default="1", nullable=False),
        sa.Column("is_trial", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("entitlements", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("price_amount", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9._-]{0,62}$'", name=op.f("ck_policies_slug")),
        sa.CheckConstraint("cardinality(entitlements) <= 255", name=op.f("ck_policies_entitlements")),
        sa.CheckConstraint("duration_seconds > 0", name=op.f("ck_policies_duration_seconds")),
        sa.CheckConstraint("grace_seconds >= 0", name=op.f("ck_policies_grace_seconds")),
        sa.CheckConstraint("max_machines >= 0", name=op.f("ck_policies_max_machines")),
        sa.CheckConstraint("price_amount >= 0", name=op.f("ck_policies_price_amount")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_policies_product_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.UniqueConstraint("product_id", "slug", name=op.f("uq_policies_product_id_slug")),
    )


def _invoices() -> None:
    op.create_table(
        "invoices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider_account_id", sa.Uuid(), nullable=False),
        sa.Column("provider_invoice_id", sa.String(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("exception", sa.String(), server_default="none", nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("paid_amount", sa.BigInteger(), nullable=True),
        sa.Column("buyer_email", sa.String(), nullable=True),
        sa.Column("buyer_note", sa.String(), nullable=True),
        sa.Column("checkout_url", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_by_hand", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("fulfilled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reversed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("review_reason", sa.String(), nullable=True),
        sa.Column("reviewed", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("review_opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("review_resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.CheckConstraint("(status = 'settled') = (settled_at IS NOT NULL)", name=op.f("ck_invoices_settled_at")),
        sa.CheckConstraint(
            "exception IN ('none', 'late', 'partial', 'over', 'marked')", name=op.f("ck_invoices_exception")
        ),
        sa.CheckConstraint("fulfilled_at IS NULL OR status = 'settled'", name=op.f("ck_invoices_fulfilled_at")),
        sa.CheckConstraint("reversed_at IS NULL OR status = 'settled'", name=op.f("ck_invoices_reversed_at")),
        sa.CheckConstraint(
            "review_reason IN ('underpaid', 'late', 'amount', 'currency', 'refunded', 'invalidated')",
            name=op.f("ck_invoices_review_reason"),
        ),
        sa.CheckConstraint("status IN ('pending', 'expired', 'invalid', 'settled')", name=op.f("ck_invoices_status")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_invoices_amount")),
        sa.CheckConstraint("paid_amount >= 0", name=op.f("ck_invoices_paid_amount")),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_invoices_policy_id")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_invoices_product_id")),
        sa.ForeignKeyConstraint(
            ["provider_account_id"], ["provider_accounts.id"], name=op.f("fk_invoices_provider_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint(
            "provider_account_id",
            "provider_invoice_id",
            name=op.f("uq_invoices_provider_account_id_provider_invoice_id"),
        ),
    )
    op.create_index(
        "ix_invoices_due",
        "invoices",
        ["provider_account_id", "next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL AND status <> 'settled'"),
    )
    op.create_index(
        "ix_invoices_review",
        "invoices",
        ["review_opened_at"],
        unique=False,
        postgresql_where=sa.text("review_reason IS NOT NULL AND review_resolved_at IS NULL"),
    )
    op.create_index(
        "ix_invoices_unfulfilled",
        "invoices",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL AND status = 'settled'"),
    )


def _licenses() -> None:
    op.create_table(
        "licenses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(), server_default="active", nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("is_trial", sa.Boolean(), nullable=False),
        sa.Column("max_machines", sa.Integer(), nullable=False),
        sa.Column("grace_seconds", sa.Integer(), nullable=False),
        sa.Column("entitlements", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("fingerprint_hash", sa.LargeBinary(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signer", sa.String(), nullable=False),
        sa.CheckConstraint("(source = 'purchase') = (invoice_id IS NOT NULL)", name=op.f("ck_licenses_invoice_id")),
        sa.CheckConstraint("source IN ('purchase', 'manual')", name=op.f("ck_licenses_source")),
        sa.CheckConstraint("status IN ('active', 'suspended', 'revoked')", name=op.f("ck_licenses_status")),
        sa.CheckConstraint("octet_length(fingerprint_hash) = 32", name=op.f("ck_licenses_fingerprint_hash")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_licenses_invoice_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_licenses_policy_id")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_licenses_product_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licenses")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_licenses_invoice_id")),
    )
    op.create_index(op.f("ix_licenses_product_id"), "licenses", ["product_id"], unique=False)
