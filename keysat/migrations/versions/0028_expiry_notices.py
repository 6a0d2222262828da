"""Notices before the end of a license, and at it, each once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

# A trigger, because workers of the version before set ends, too. NULL is a license from before: a scan looks at it.
_DUE = """
CREATE FUNCTION keysat_license_end_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.next_notice_at := now();
    RETURN NEW;
END $$
"""
_KINDS = (
    *("receipt", "seen", "short", "reversed", "suspended", "revoked", "restored", "recovery", "renewed", "rotated"),
    *("transferred", "expiring", "expired"),
)


def upgrade() -> None:
    op.add_column(
        "policies",
        sa.Column("expiry_notice_days", postgresql.ARRAY(sa.Integer()), server_default="{14,7,1}", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_policies_expiry_notice_days"),
        "policies",
        "cardinality(expiry_notice_days) <= 10 AND 0 < ALL (expiry_notice_days)",
    )
    op.add_column("licenses", sa.Column("next_notice_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_licenses_notice_due",
        "licenses",
        ["next_notice_at"],
        postgresql_where=sa.text("expires_at IS NOT NULL AND status = 'active'"),
    )
    op.create_table(
        "expiry_notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("license_id", sa.Uuid(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("days_before", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("days_before >= 0", name=op.f("ck_expiry_notices_days_before")),
        sa.ForeignKeyConstraint(["license_id"], ["licenses.id"], name=op.f("fk_expiry_notices_license_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_expiry_notices")),
        sa.UniqueConstraint(
            "license_id", "ends_at", "days_before", name=op.f("uq_expiry_notices_license_id_ends_at_days_before")
        ),
    )
    op.execute(_DUE)
    op.execute(
        "CREATE TRIGGER license_end_set BEFORE INSERT ON licenses FOR EACH ROW WHEN (NEW.expires_at IS NOT NULL)"
        " EXECUTE FUNCTION keysat_license_end_set()"
    )
    op.execute(
        "CREATE TRIGGER license_end_moved BEFORE UPDATE OF expires_at ON licenses FOR EACH ROW"
        " WHEN (OLD.expires_at IS DISTINCT FROM NEW.expires_at) EXECUTE FUNCTION keysat_license_end_set()"
    )
    op.drop_constraint(op.f("ck_mails_kind"), "mails", type_="check")
    kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
    op.create_check_constraint(op.f("ck_mails_kind"), "mails", f"kind IN ({kinds})")
