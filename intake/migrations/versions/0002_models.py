"""Versions of the risk model, shared by all hosts, and which was put to use when."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.text("clock_timestamp()")
    op.create_table(
        "models",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("info", JSONB, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("stored_at", TIMESTAMP(timezone=True), nullable=False, server_default=now),
        sa.CheckConstraint("number > 0", name="models_number"),
        # of the very bytes: what was exchanged on its way does not come in
        sa.CheckConstraint("sha256 = encode(sha256(content), 'hex')", name="models_sha256"),
    )
    op.create_table(
        "model_promotions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("number", sa.Integer, sa.ForeignKey("models.number"), nullable=False),
        sa.Column("promoted_at", TIMESTAMP(timezone=True), nullable=False, server_default=now),
    )


def downgrade() -> None:
    for table in ("model_promotions", "models"):
        op.drop_table(table)
