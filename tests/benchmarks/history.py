"""Copies of runs in the metadata database: of years ago, or still to be done."""

from __future__ import annotations

from tests.benchmarks.metadata import Metadata

_COLUMNS = """
    SELECT quote_ident(column_name) FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = %s AND is_generated = 'NEVER'
    ORDER BY ordinal_position
"""
#: What a copy has of its own, by table and column; everything else is as in the run copied from.
_OWN = {
    "dag_run": {
        "id": "nextval(pg_get_serial_sequence('dag_run', 'id'))",
        "run_id": "'old__' || %(mark)s || '_' || n",
        "logical_date": "NULL",
        "run_after": "run_after - interval '30 days' - n * interval '1 second'",
        "start_date": "start_date - interval '30 days' - n * interval '1 second'",
        "end_date": "end_date - interval '30 days' - n * interval '1 second'",
        "queued_at": "queued_at - interval '30 days' - n * interval '1 second'",
        "created_at": "created_at - interval '30 days' - n * interval '1 second'",
    },
    "task_instance": {
        "id": "gen_random_uuid()",
        "run_id": "'old__' || %(mark)s || '_' || n",
        "start_date": "start_date - interval '30 days' - n * interval '1 second'",
        "end_date": "end_date - interval '30 days' - n * interval '1 second'",
    },
}


#: The same for a copy that is still to begin.
_FRESH = {
    "dag_run": {
        "id": "nextval(pg_get_serial_sequence('dag_run', 'id'))",
        "run_id": "run_id || '_' || %(mark)s || '_' || n",
        "logical_date": "NULL",
        "state": "'running'",
        **dict.fromkeys(("start_date", "queued_at", "created_at"), "now()"),
        **dict.fromkeys(("end_date", "last_scheduling_decision"), "NULL"),
    },
    "task_instance": {
        "id": "gen_random_uuid()",
        "run_id": "run_id || '_' || %(mark)s || '_' || n",
        "try_number": "0",
        "hostname": "''",
        **dict.fromkeys(
            (
                *("state", "start_date", "end_date", "duration", "pid", "last_heartbeat_at"),
                *("scheduled_dttm", "queued_dttm", "queued_by_job_id", "external_executor_id"),
            ),
            "NULL",
        ),
    },
}


def repeat(metadata: Metadata, dag_id: str, runs: int) -> None:
    """Have a DAG's newest run so many times more, running, with no task begun.

    The API takes a tenth of a second for a run: minutes, on either stack, that say nothing.
    """
    newest = "SELECT run_id FROM dag_run WHERE dag_id = %s ORDER BY id DESC LIMIT 1"
    run_id = metadata.rows(newest, (dag_id,))[0][0]
    _copy(metadata, _FRESH, dag_id, run_id, runs)


def add(metadata: Metadata, dag_id: str, tasks: int) -> None:
    """Put so many task instances of the DAG's runs of long ago into the database.

    They are copies of its newest run that succeeded, thirty days and more old.
    """
    newest = (
        "SELECT run_id FROM dag_run WHERE dag_id = %s AND state = 'success' "
        "AND run_id NOT LIKE 'old%%' ORDER BY id DESC LIMIT 1"
    )
    run_id = metadata.rows(newest, (dag_id,))[0][0]
    of_run = "SELECT count(*) FROM task_instance WHERE dag_id = %s AND run_id = %s"
    each = metadata.number(of_run, (dag_id, run_id))
    _copy(metadata, _OWN, dag_id, run_id, -(-tasks // each))


def _copy(
    metadata: Metadata, changes: dict[str, dict[str, str]], dag_id: str, run_id: str, runs: int
) -> None:
    mark = metadata.number("SELECT count(*) FROM dag_run")
    arguments = {"dag": dag_id, "run": run_id, "mark": str(mark), "runs": runs}
    for table, own in changes.items():
        columns = [row[0] for row in metadata.rows(_COLUMNS, (table,))]
        values = [own.get(column, column) for column in columns]
        metadata.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "  # noqa: S608
            f"FROM {table}, generate_series(1, %(runs)s) n "
            "WHERE dag_id = %(dag)s AND run_id = %(run)s",
            arguments,
        )
        metadata.execute(f"ANALYZE {table}")
