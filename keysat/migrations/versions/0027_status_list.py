"""Licenses know whether their end changed, and the list of what changed since keys were issued is stored."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# A trigger, because workers of the version before change ends, too.
_MARK = """
CREATE FUNCTION keysat_license_end_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was timestamptz := OLD.expires_at
        + CASE WHEN OLD.is_recurring THEN make_interval(secs => OLD.grace_seconds + OLD.outage_seconds) ELSE '0' END;
    becomes timestamptz := NEW.expires_at
        + CASE WHEN NEW.is_recurring THEN make_interval(secs => NEW.grace_seconds + NEW.outage_seconds) ELSE '0' END;
BEGIN
    IF was IS NOT DISTINCT FROM becomes THEN
        RETURN NEW;
    ELSIF becomes IS NULL OR becomes > was THEN
        NEW.end_extended := true;
    ELSE
        NEW.end_shortened := true;
    END IF;
    RETURN NEW;
END $$
"""
_LISTED = "status <> 'active' OR rotated_at IS NOT NULL OR end_extended OR end_shortened"


def upgrade() -> None:
    # Read before the table is locked. Earlier changes of an end may have gone either way.
    op.execute(
        "CREATE TEMPORARY TABLE changed_ends ON COMMIT DROP AS SELECT DISTINCT subject_id FROM audit_log"
        " WHERE action = 'license.changed' AND detail -> 'fields' ? 'expires_at'"
    )
    op.create_table(
        "status_lists",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_status_lists_digest")),
        sa.CheckConstraint("expires_at > issued_at", name=op.f("ck_status_lists_expires_at")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_status_lists")),
    )
    op.execute(_MARK)
    for column in ("end_extended", "end_shortened"):
        op.add_column("licenses", sa.Column(column, sa.Boolean(), server_default="false", nullable=False))
    op.execute(
        "UPDATE licenses SET end_extended = true, end_shortened = true WHERE id IN (SELECT subject_id FROM changed_ends)"
    )
    op.execute(
        "CREATE TRIGGER license_end_changed BEFORE UPDATE OF expires_at, grace_seconds, outage_seconds, is_recurring"
        " ON licenses FOR EACH ROW EXECUTE FUNCTION keysat_license_end_changed()"
    )
    op.create_index("ix_licenses_listed", "licenses", ["id"], postgresql_where=sa.text(_LISTED))
