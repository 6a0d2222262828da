"""The payment hash of a purchase's Lightning payment. It needs no index: it is read by the invoice's id."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invoices", sa.Column("payment_hashes", ARRAY(sa.LargeBinary())))
