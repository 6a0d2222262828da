"""A mail that ended keeps neither its message nor its link. One whose facts changed is made anew.

More kinds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


_KINDS = "'receipt', 'seen', 'short', 'reversed', 'suspended', 'revoked', 'restored', 'recovery'"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_mails_kind"), "mails", type_="check")
    op.create_check_constraint(op.f("ck_mails_kind"), "mails", f"kind IN ({_KINDS})")
    op.execute(sa.text("UPDATE mails SET sealed_message = NULL, sealed_link = NULL WHERE status = 'dropped'"))
    op.drop_constraint(op.f("ck_mails_sealed_message"), "mails", type_="check")
    op.create_check_constraint(
        op.f("ck_mails_sealed_message"),
        "mails",
        "status NOT IN ('sent', 'dropped') OR (sealed_message IS NULL AND sealed_link IS NULL)",
    )
    op.add_column("mails", sa.Column("facts_hash", sa.LargeBinary(), nullable=True))
    # Nobody knows what the messages so far were made from, so those that are sent again are made anew.
    op.execute(sa.text("UPDATE mails SET facts_hash = '' WHERE sealed_message IS NOT NULL OR status <> 'pending'"))
