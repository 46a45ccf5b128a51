"""Find the first waiting tasks of a pool, by priority and then by age.

Airflow's own index of pools knows no age, so among thousands of waiting tasks of one priority the
database would sort all of them to find the oldest (`airflow_config/scheduler_candidates.py`).
Ids of task instances grow with time. Only waiting tasks are in the index, so it stays small.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: Triggers and indexes that this revision makes; each statement may run twice.
OBJECTS = ("airlane_task_waiting",)


def upgrade() -> None:
    """Make the index."""
    op.execute(
        "CREATE INDEX IF NOT EXISTS airlane_task_waiting ON task_instance "
        "(pool, priority_weight DESC, id) WHERE state = 'scheduled'"
    )


def downgrade() -> None:
    """Drop the index."""
    op.execute("DROP INDEX IF EXISTS airlane_task_waiting")
