"""Tell the scheduler, when a transaction commits, that there is something for it to do.

Whoever commits, tells: the API server when a task ends or a run is created, the triggerer when a
deferral ends, the CLI when a task is cleared. What the scheduler does in every loop (scheduled,
queued, running) costs nothing, because the condition stands in the trigger, not in its function.
A transaction that changes many tasks of one run tells it once: PostgreSQL drops equal texts.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: Triggers and indexes that this revision makes; each statement may run twice.
OBJECTS = (
    "airlane_run_created",
    "airlane_run_queued",
    "airlane_task_changed",
    "airlane_dag_unpaused",
)

# Ids are 250 characters at most: never near the 8,000 bytes that a notification may have.
_FUNCTION = """
CREATE OR REPLACE FUNCTION airlane_wake_scheduler() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(
        'airlane_scheduler',
        json_build_object(
            'kind', TG_ARGV[0], 'dag_id', NEW.dag_id, 'run_id', NEW.run_id
        )::text
    );
    RETURN NULL;
END
$$
"""

# A pause ends: its runs go on, though nothing else changed in them.
_UNPAUSED = """
CREATE OR REPLACE FUNCTION airlane_wake_scheduler_for_dag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(
        'airlane_scheduler',
        json_build_object('kind', 'dag', 'dag_id', NEW.dag_id, 'run_id', '')::text
    );
    RETURN NULL;
END
$$
"""

_TRIGGERS = (
    """
    CREATE OR REPLACE TRIGGER airlane_dag_unpaused AFTER UPDATE OF is_paused ON dag FOR EACH ROW
    WHEN (OLD.is_paused AND NOT NEW.is_paused)
    EXECUTE FUNCTION airlane_wake_scheduler_for_dag()
    """,
    """
    CREATE OR REPLACE TRIGGER airlane_run_created AFTER INSERT ON dag_run FOR EACH ROW
    WHEN (NEW.state IN ('queued', 'running'))
    EXECUTE FUNCTION airlane_wake_scheduler('run')
    """,
    """
    CREATE OR REPLACE TRIGGER airlane_run_queued AFTER UPDATE OF state ON dag_run FOR EACH ROW
    WHEN (NEW.state = 'queued' AND OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION airlane_wake_scheduler('run')
    """,
    # No state: cleared. Scheduled: by the scheduler itself, but after a deferral by the
    # triggerer, and after a question to a person by the API server.
    """
    CREATE OR REPLACE TRIGGER airlane_task_changed AFTER UPDATE OF state ON task_instance
    FOR EACH ROW
    WHEN (
        OLD.state IS DISTINCT FROM NEW.state
        AND (
            NEW.state IS NULL
            OR NEW.state IN (
                'success', 'failed', 'skipped', 'upstream_failed', 'removed',
                'up_for_retry', 'up_for_reschedule', 'deferred', 'awaiting_input'
            )
            OR NEW.state = 'scheduled' AND OLD.state IN ('deferred', 'awaiting_input')
        )
    )
    EXECUTE FUNCTION airlane_wake_scheduler('task')
    """,
)


def upgrade() -> None:
    """Make the function and its triggers."""
    for statement in (_FUNCTION, _UNPAUSED, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Drop the functions, and with them their triggers."""
    op.execute("DROP FUNCTION IF EXISTS airlane_wake_scheduler CASCADE")
    op.execute("DROP FUNCTION IF EXISTS airlane_wake_scheduler_for_dag CASCADE")
