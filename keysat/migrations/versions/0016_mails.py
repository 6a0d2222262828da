"""Mail to buyers."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("sealed_link", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_message", sa.LargeBinary(), nullable=True),
        sa.Column("useful_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("pending_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('receipt', 'seen', 'short', 'reversed', 'recovery')", name=op.f("ck_mails_kind")),
        sa.CheckConstraint("status IN ('pending', 'sent', 'failed', 'dropped')", name=op.f("ck_mails_status")),
        sa.CheckConstraint(
            "(status = 'pending') = (next_attempt_at IS NOT NULL)", name=op.f("ck_mails_next_attempt_at")
        ),
        sa.CheckConstraint("(status = 'pending') = (ended_at IS NULL)", name=op.f("ck_mails_ended_at")),
        sa.CheckConstraint(
            "status <> 'sent' OR (sealed_message IS NULL AND sealed_link IS NULL)", name=op.f("ck_mails_sealed_message")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_mails_invoice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
        sa.UniqueConstraint("kind", "subject_id", name=op.f("uq_mails_kind_subject_id")),
        sa.UniqueConstraint("message_id", name=op.f("uq_mails_message_id")),
    )
    for name, column, where in (
        ("ix_mails_due", "next_attempt_at", "next_attempt_at IS NOT NULL"),
        ("ix_mails_leased", "leased_until", "leased_until IS NOT NULL"),
        ("ix_mails_failed", "ended_at", "status = 'failed'"),
        ("ix_mails_invoice_id", "invoice_id", "invoice_id IS NOT NULL"),
    ):
        op.create_index(name, "mails", [column], unique=False, postgresql_where=sa.text(where))
