"""Money is watched until a person or the provider settles it: seen payments, final checks, reversals."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_REASONS = (
    "review_reason IN ('underpaid', 'late', 'amount', 'currency', 'refunded', 'invalidated', 'unconfirmed', "
    "'settled_again')"
)


def upgrade() -> None:
    for name in ("payment_seen_at", "final_check_at", "reversal_check_at"):
        op.add_column("invoices", sa.Column(name, sa.DateTime(timezone=True)))
    op.add_column("invoices", sa.Column("license_became", sa.String()))
    op.drop_constraint(op.f("ck_invoices_review_reason"), "invoices")
    op.create_check_constraint(op.f("ck_invoices_review_reason"), "invoices", _REASONS)
    op.create_check_constraint(
        op.f("ck_invoices_license_became"), "invoices", "license_became IN ('active', 'suspended', 'revoked')"
    )
    _see_what_was_passed_over()
    op.create_check_constraint(
        op.f("ck_invoices_reversal_check_at"), "invoices", "reversal_check_at IS NULL OR status = 'settled'"
    )
    op.create_index(
        "ix_invoices_reversal_check",
        "invoices",
        ["provider_account_id", "reversal_check_at"],
        postgresql_where=sa.text("reversal_check_at IS NOT NULL"),
    )


def _see_what_was_passed_over() -> None:
    op.execute("UPDATE invoices SET payment_seen_at = created_at WHERE paid_amount > 0")
    op.execute(
        "UPDATE invoices SET review_opened_at = now(), review_reason = r.reason, reviewed = array_append(reviewed, r.reason) "
        "FROM (SELECT id, CASE WHEN paid_amount >= amount THEN 'unconfirmed' ELSE 'underpaid' END AS reason "
        "FROM invoices WHERE status IN ('expired', 'invalid') AND paid_amount > 0 AND review_reason IS NULL) AS r "
        "WHERE invoices.id = r.id"
    )
    op.execute(
        "UPDATE invoices SET reversal_check_at = now() + random() * interval '1 day' "
        "WHERE status = 'settled' AND provider_account_id IS NOT NULL AND settled_at > now() - interval '60 days'"
    )
