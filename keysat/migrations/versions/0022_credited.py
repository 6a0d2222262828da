"""A rest knows what it counts for, so that this can be taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invoices", sa.Column("credited", sa.BigInteger()))
    op.create_check_constraint(
        op.f("ck_invoices_credited"), "invoices", "credited IS NULL OR (rest_of_id IS NOT NULL AND credited >= 0)"
    )
    # The credit of a rest whose payment went back was taken back. It is credited again once that is undone.
    op.execute("UPDATE invoices SET fulfilled_at = NULL WHERE rest_of_id IS NOT NULL AND reversed_at IS NOT NULL")
    op.execute(
        "UPDATE invoices SET credited = CASE WHEN settled_by_hand OR exception = 'marked' THEN amount"
        " ELSE LEAST(amount, COALESCE(paid_amount, amount) + rest_paid) END"
        " WHERE rest_of_id IS NOT NULL AND fulfilled_at IS NOT NULL"
    )
