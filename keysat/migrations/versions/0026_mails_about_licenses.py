"""Mail about licenses without an invoice, and about new keys."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_KINDS = (
    *("receipt", "seen", "short", "reversed", "suspended", "revoked", "restored", "recovery", "renewed", "rotated"),
    "transferred",
)


def upgrade() -> None:
    op.add_column("mails", sa.Column("license_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_mails_license_id"), "mails", "licenses", ["license_id"], ["id"])
    op.create_index("ix_mails_license_id", "mails", ["license_id"], postgresql_where=sa.text("license_id IS NOT NULL"))
    op.drop_constraint(op.f("ck_mails_kind"), "mails", type_="check")
    kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
    op.create_check_constraint(op.f("ck_mails_kind"), "mails", f"kind IN ({kinds})")
