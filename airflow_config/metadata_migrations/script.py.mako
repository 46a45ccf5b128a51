"""${message}"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

#: Triggers and indexes that this revision makes; each statement may run twice.
OBJECTS: tuple[str, ...] = ()


def upgrade() -> None:
    """Make them."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Drop them."""
    ${downgrades if downgrades else "pass"}
