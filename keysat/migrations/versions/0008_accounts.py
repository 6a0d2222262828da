"""Provider accounts: a breaker for creates, rechecks of rejected credentials, who sells, sandboxes, own authorities."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("failed_invoice_id", sa.Uuid()),
        sa.Column("create_failure_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("create_open_until", sa.DateTime(timezone=True)),
        sa.Column("create_last_error", sa.String()),
        sa.Column("recheck_at", sa.DateTime(timezone=True)),
        sa.Column("recheck_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("selling_rank", sa.Integer()),
        sa.Column("is_sandbox", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ca_pem", sa.String()),
    ):
        op.add_column("provider_accounts", column)
    _sell_as_before()
    op.create_check_constraint(
        op.f("ck_provider_accounts_create_failure_count"), "provider_accounts", "create_failure_count >= 0"
    )
    op.create_check_constraint(op.f("ck_provider_accounts_recheck_at"), "provider_accounts", _PAUSED)
    op.create_unique_constraint(op.f("uq_provider_accounts_selling_rank"), "provider_accounts", ["selling_rank"])
    op.add_column("products", sa.Column("provider_account_id", sa.Uuid()))
    op.create_foreign_key(
        op.f("fk_products_provider_account_id"),
        "products",
        "provider_accounts",
        ["provider_account_id"],
        ["id"],
    )


_PAUSED = "recheck_at IS NULL OR paused_at IS NOT NULL"


def _sell_as_before() -> None:
    """The oldest account that is no sandbox of ours sold so far, so it is the one that sells."""
    op.execute(
        "UPDATE provider_accounts SET is_sandbox = true "
        "WHERE base_url ~ '^http://(127\\.[0-9.]+|localhost|\\[::1\\])(:[0-9]+)?$' "
        "AND EXISTS (SELECT FROM provider_accounts real WHERE real.base_url ~ '^https://')"
    )
    op.execute(
        "UPDATE provider_accounts SET selling_rank = 1 WHERE id = "
        "(SELECT id FROM provider_accounts ORDER BY is_sandbox, paused_at IS NOT NULL, created_at, id LIMIT 1)"
    )
