"""Ledger, outbox and applicants."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "applicants",
        sa.Column("entity_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("record", JSONB, nullable=False),
        sa.Column("creditability", sa.Text, nullable=False),
    )
    op.create_table(
        "ledger",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("entity_id", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("score", sa.Float(53)),
        sa.Column("reasons", JSONB, nullable=False),
        sa.Column("model_version", sa.Text),
        sa.Column("signed_up_at", TIMESTAMP(timezone=True), nullable=False),
        # The time of the insert, not of the transaction's beginning.
        sa.Column(
            "decided_at",
            TIMESTAMP(timezone=True),
            nullable=False,
            server_default=sa.text("clock_timestamp()"),
        ),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("event", JSONB),
        sa.CheckConstraint(
            "decision IN ('approve', 'decline', 'review', 'error')", name="ledger_decision"
        ),
        sa.CheckConstraint("score BETWEEN 0 AND 1", name="ledger_score"),
    )
    op.create_index("ledger_decided_at", "ledger", ["decided_at", "event_id"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column(
            "event_id", sa.Text, sa.ForeignKey("ledger.event_id"), nullable=False, unique=True
        ),
        sa.Column("position", sa.BigInteger, unique=True),
        sa.Column("published_at", TIMESTAMP(timezone=True)),
    )
    op.create_index(
        "outbox_unpublished",
        "outbox",
        ["position", "id"],
        postgresql_where=sa.text("published_at IS NULL"),
    )


def downgrade() -> None:
    for table in ("outbox", "ledger", "applicants"):
        op.drop_table(table)
