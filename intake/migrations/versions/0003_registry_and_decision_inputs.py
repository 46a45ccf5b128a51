"""Fraud's distributions in versions, who promoted what and why, and what decisions are made from.

The release before this one works with it: what it knows only gets columns that fill themselves.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ACTIONS = "action IN ('promote', 'rollback')"


def _noted() -> list[sa.Column[str]]:
    """Return the columns that say what was done, by whom and why."""
    return [
        sa.Column("action", sa.Text, nullable=False, server_default="promote"),
        sa.Column("promoted_by", sa.Text, nullable=False, server_default=""),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
    ]


def upgrade() -> None:
    now = sa.text("clock_timestamp()")
    for column in _noted():
        op.add_column("model_promotions", column)
    op.create_check_constraint("model_promotions_action", "model_promotions", _ACTIONS)
    op.create_table(
        "fraud_distributions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("info", JSONB, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("stored_at", TIMESTAMP(timezone=True), nullable=False, server_default=now),
        sa.CheckConstraint("number > 0", name="fraud_distributions_number"),
        sa.CheckConstraint(
            "sha256 = encode(sha256(content), 'hex')", name="fraud_distributions_sha256"
        ),
    )
    op.create_table(
        "fraud_promotions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column(
            "number", sa.Integer, sa.ForeignKey("fraud_distributions.number"), nullable=False
        ),
        sa.Column("promoted_at", TIMESTAMP(timezone=True), nullable=False, server_default=now),
        *_noted(),
        sa.CheckConstraint(_ACTIONS, name="fraud_promotions_action"),
    )
    op.create_table(
        "decision_inputs",
        sa.Column("event_id", sa.Text, sa.ForeignKey("ledger.event_id"), primary_key=True),
        sa.Column("record", JSONB, nullable=False),
        sa.Column("versions", JSONB, nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("packs_sha256", sa.Text, nullable=False),
        sa.Column("scikit_learn", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("decision_inputs", "fraud_promotions", "fraud_distributions"):
        op.drop_table(table)
    op.drop_constraint("model_promotions_action", "model_promotions")
    for column in _noted():
        op.drop_column("model_promotions", column.name)
