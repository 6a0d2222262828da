"""An invoice's claim writes three index entries, not five."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _provider_invoice_id()
    _idempotency_key()


def _provider_invoice_id() -> None:
    """Turn the constraint's columns about, so that its index also finds an invoice by the provider's id alone."""
    op.drop_constraint(op.f("uq_invoices_provider_account_id_provider_invoice_id"), "invoices")
    op.drop_index("ix_invoices_provider_invoice_id", "invoices")
    op.create_unique_constraint(
        op.f("uq_invoices_provider_invoice_id_provider_account_id"),
        "invoices",
        ["provider_invoice_id", "provider_account_id"],
    )


def _idempotency_key() -> None:
    """Leave the invoices out that were opened without a key."""
    op.drop_constraint(op.f("uq_invoices_idempotency_key"), "invoices")
    op.create_index(
        "uq_invoices_idempotency_key",
        "invoices",
        ["idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
