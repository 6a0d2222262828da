"""Key holders free seats themselves, within a limit that a policy sets and a license keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("policies", "licenses"):
        op.add_column(table, sa.Column("releases_per_seat", sa.Integer(), server_default="3", nullable=False))
        op.create_check_constraint(op.f(f"ck_{table}_releases_per_seat"), table, "releases_per_seat >= 0")
    op.add_column("machines", sa.Column("by_holder", sa.Boolean(), server_default=sa.false(), nullable=False))
