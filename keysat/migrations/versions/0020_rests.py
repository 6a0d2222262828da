"""An invoice may complete another one: it charges what was missing there."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_REASONS = ("underpaid", "late", "amount", "currency", "refunded", "invalidated", "unconfirmed", "settled_again")


def upgrade() -> None:
    op.add_column("invoices", sa.Column("rest_of_id", sa.Uuid()))
    op.add_column("invoices", sa.Column("rest_paid", sa.BigInteger(), server_default="0", nullable=False))
    op.create_foreign_key(op.f("fk_invoices_rest_of_id"), "invoices", "invoices", ["rest_of_id"], ["id"])
    op.create_check_constraint(op.f("ck_invoices_rest_paid"), "invoices", "rest_paid >= 0")
    op.create_check_constraint(op.f("ck_invoices_rest_of_id"), "invoices", "rest_of_id <> id")
    op.create_index(
        "ix_invoices_rest_of_id", "invoices", ["rest_of_id"], postgresql_where=sa.text("rest_of_id IS NOT NULL")
    )
    reasons = ", ".join(f"'{reason}'" for reason in (*_REASONS, "excess"))
    op.drop_constraint(op.f("ck_invoices_review_reason"), "invoices")
    op.create_check_constraint(op.f("ck_invoices_review_reason"), "invoices", f"review_reason IN ({reasons})")
