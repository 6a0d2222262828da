"""What the HTTP API needs: drafts, discount codes, machines, provider events, API keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _api_keys()
    _discount_codes()
    _machines()
    _provider_events()
    _invoices()
    for table in ("policies", "products"):
        op.add_column(table, sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("policies", sa.Column("highlighted", sa.Boolean(), server_default="false", nullable=False))
    op.add_column(
        "products",
        sa.Column("entitlements_catalog", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
    )
    for column in ("webhook_connected_at", "last_event_at"):
        op.add_column("provider_accounts", sa.Column(column, sa.DateTime(timezone=True), nullable=True))


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("scope IN ('read', 'write')", name=op.f("ck_api_keys_scope")),
        sa.CheckConstraint("octet_length(key_hash) = 32", name=op.f("ck_api_keys_key_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )


def _discount_codes() -> None:
    op.create_table(
        "discount_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), server_default="BTC", nullable=False),
        sa.Column("max_uses", sa.Integer(), nullable=True),
        sa.Column("uses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=True),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "CASE kind WHEN 'percent' THEN amount BETWEEN 1 AND 10000 WHEN 'free_license' THEN amount = 0"
            " ELSE amount > 0 END",
            name=op.f("ck_discount_codes_amount"),
        ),
        sa.CheckConstraint("code ~ '^[A-Z0-9][A-Z0-9._-]{0,62}$'", name=op.f("ck_discount_codes_code")),
        sa.CheckConstraint("kind = 'set_price' OR currency = 'BTC'", name=op.f("ck_discount_codes_currency")),
        sa.CheckConstraint(
            "kind IN ('percent', 'fixed_sats', 'set_price', 'free_license')", name=op.f("ck_discount_codes_kind")
        ),
        sa.CheckConstraint("max_uses > 0", name=op.f("ck_discount_codes_max_uses")),
        sa.CheckConstraint("uses >= 0 AND (max_uses IS NULL OR uses <= max_uses)", name=op.f("ck_discount_codes_uses")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_discount_codes_product_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discount_codes")),
        sa.UniqueConstraint("code", name=op.f("uq_discount_codes_code")),
    )
    op.create_table(
        "redemptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(), server_default="reserved", nullable=False),
        sa.Column("discount", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('reserved', 'redeemed', 'cancelled', 'excess')", name=op.f("ck_redemptions_status")
        ),
        sa.CheckConstraint("discount >= 0", name=op.f("ck_redemptions_discount")),
        sa.ForeignKeyConstraint(["code_id"], ["discount_codes.id"], name=op.f("fk_redemptions_code_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_redemptions_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redemptions")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_redemptions_invoice_id")),
    )
    op.create_index(op.f("ix_redemptions_code_id"), "redemptions", ["code_id"], unique=False)


def _machines() -> None:
    op.create_table(
        "machines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("license_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hostname", sa.String(), nullable=True),
        sa.Column("platform", sa.String(), nullable=True),
        sa.Column("activated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deactivated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deactivation_reason", sa.String(), nullable=True),
        sa.CheckConstraint("octet_length(fingerprint_hash) = 32", name=op.f("ck_machines_fingerprint_hash")),
        sa.ForeignKeyConstraint(["license_id"], ["licenses.id"], name=op.f("fk_machines_license_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machines")),
    )
    op.create_index(op.f("ix_machines_license_id"), "machines", ["license_id"], unique=False)
    op.create_index(
        "uq_machines_active",
        "machines",
        ["license_id", "fingerprint_hash"],
        unique=True,
        postgresql_where=sa.text("deactivated_at IS NULL"),
    )


def _provider_events() -> None:
    op.create_table(
        "provider_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider_account_id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("provider_invoice_id", sa.String(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_account_id"], ["provider_accounts.id"], name=op.f("fk_provider_events_provider_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_events")),
        sa.UniqueConstraint(
            "provider_account_id", "delivery_id", name=op.f("uq_provider_events_provider_account_id_delivery_id")
        ),
    )
    op.create_index(
        "ix_provider_events_owed",
        "provider_events",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index(
        "ix_provider_events_invoice",
        "provider_events",
        ["provider_account_id", "provider_invoice_id", "looked_at"],
        unique=False,
    )


def _invoices() -> None:
    op.add_column("invoices", sa.Column("base_amount", sa.BigInteger(), nullable=True))
    op.execute("UPDATE invoices SET base_amount = amount")
    op.alter_column("invoices", "base_amount", nullable=False)
    op.add_column(
        "invoices",
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.add_column("invoices", sa.Column("idempotency_key", sa.String(), nullable=True))
    op.add_column("invoices", sa.Column("request_hash", sa.LargeBinary(), nullable=True))
    op.add_column("invoices", sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True))
    for column in ("provider_account_id", "provider_invoice_id", "checkout_url"):
        op.alter_column("invoices", column, nullable=True)
    op.create_index(
        "ix_invoices_buyer_email",
        "invoices",
        [sa.text("lower(buyer_email)")],
        unique=False,
        postgresql_where=sa.text("buyer_email IS NOT NULL"),
    )
    op.create_index(
        "ix_invoices_settled",
        "invoices",
        ["provider_account_id", "settled_at"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NOT NULL"),
    )
    op.create_index("ix_invoices_provider_invoice_id", "invoices", ["provider_invoice_id"], unique=False)
    op.create_unique_constraint(op.f("uq_invoices_idempotency_key"), "invoices", ["idempotency_key"])
    op.drop_constraint(op.f("ck_invoices_amount"), "invoices", type_="check")
    for name, condition in (
        ("amount", "amount >= 0 AND amount <= base_amount"),
        ("provider_account_id", "(provider_account_id IS NULL) = (amount = 0)"),
        ("free", "provider_account_id IS NOT NULL OR status = 'settled'"),
        ("checkout_url", "(provider_invoice_id IS NULL) = (checkout_url IS NULL)"),
        ("request_hash", "(idempotency_key IS NULL) = (request_hash IS NULL)"),
    ):
        op.create_check_constraint(op.f(f"ck_invoices_{name}"), "invoices", condition)
