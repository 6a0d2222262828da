"""Codes for some policies, for each buyer, and for everybody to see. Policies in an order, or hidden, with bullets.

Endpoints that get the keys of licenses.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# As `keysat.core.mailbox.same_buyer`, but for domains with letters beyond ASCII.
_BUYER = "lower(regexp_replace(invoices.buyer_email, '(.)[+][^@]*@', '\\1@'))"


def upgrade() -> None:
    op.add_column("discount_codes", sa.Column("policy_ids", ARRAY(sa.Uuid()), server_default="{}", nullable=False))
    op.add_column("discount_codes", sa.Column("max_uses_per_buyer", sa.Integer()))
    op.add_column("discount_codes", sa.Column("featured", sa.Boolean(), server_default="false", nullable=False))
    op.create_check_constraint("max_uses_per_buyer", "discount_codes", "max_uses_per_buyer > 0")
    op.create_check_constraint("policy_ids", "discount_codes", "product_id IS NOT NULL OR policy_ids = '{}'")
    op.add_column("redemptions", sa.Column("buyer_hash", sa.LargeBinary()))
    op.execute(
        f"UPDATE redemptions SET buyer_hash = sha256(convert_to({_BUYER}, 'UTF8')) FROM invoices"  # noqa: S608 - ours
        " WHERE invoices.id = redemptions.invoice_id AND invoices.buyer_email IS NOT NULL"
    )
    op.drop_index(op.f("ix_redemptions_code_id"), table_name="redemptions")
    op.create_index("ix_redemptions_code_id_buyer_hash", "redemptions", ["code_id", "buyer_hash"])
    op.add_column("policies", sa.Column("hidden", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("policies", sa.Column("position", sa.Integer(), server_default="0", nullable=False))
    op.add_column("policies", sa.Column("bullets", ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.create_check_constraint("bullets", "policies", "cardinality(bullets) <= 20")
    op.add_column("webhook_endpoints", sa.Column("with_key", sa.Boolean(), server_default="false", nullable=False))
    op.create_check_constraint("with_key", "webhook_endpoints", "NOT with_key OR url LIKE 'https://%'")
