"""How long Airflow waits before the retries of a task.

As `TaskInstance.next_retry_datetime` does (models/taskinstance.py, Airflow 3.3.2); without Airflow,
because the queue model needs none. A test compares the two.
"""

from __future__ import annotations

from datetime import timedelta

#: Factor between one retry's delay and the next one's, for tasks whose author set none.
BACKOFF = 2
#: Of a queue, at most.
MOST_RETRIES = 100
#: `[core] max_task_retry_delay`, which bounds each wait.
_AIRFLOWS_LONGEST = timedelta(days=1)


def longest_waits(count: int, delay: timedelta, max_delay: timedelta) -> timedelta:
    """Return how long a task that fails each time waits for its retries, at most and in all.

    Parameters
    ----------
    count
        Retries.
    delay, max_delay
        As `retries` of a queue has them.
    """
    waited = timedelta()
    longest = min(max_delay, _AIRFLOWS_LONGEST)
    seconds = int(delay.total_seconds())
    for done in range(count):
        # a wait is spread over [delay, twice the delay), in whole seconds
        wait = timedelta(seconds=2 * seconds - 1)
        if wait >= longest:
            return waited + (count - done) * longest
        waited += wait
        seconds *= BACKOFF
    return waited
