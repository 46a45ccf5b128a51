"""Events in, decisions out: airlane's intake. Stock has none; its event is a REST call."""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import Any, Self

import redis

from dags.packs.model_store import NoModelError, promoted
from intake import database, keys, producer
from tests.benchmarks import runs, stages
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.plan import Case, Cost, Count, Group, Plan, Results
from tests.benchmarks.product import AirlaneStack
from tests.benchmarks.stack import Stack, await_true

_COUNT = Count(stock=3, airlane=12, quick_stock=3, quick_airlane=8, seconds=120)
_DEADLINE = 180
#: Applicants of the demo's data.
_PEOPLE = 1000
_DAG = "onboarding"
#: Stock has no intake.
_AIRLANE = ("airlane",)


class _Signups:
    """Sends sign-ups and notes when their decisions come, as an application would."""

    def __init__(self, stack: AirlaneStack) -> None:
        self._stack = stack
        self._events = redis.Redis.from_url(stack.instance.events_url("operator"))
        self._person = 0
        #: When a decision came, by event id.
        self.came: dict[str, float] = {}
        self._ended = Event()
        after = producer.tail(self._events)
        self._reader = Thread(target=self._read, args=(after,), daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._reader.join()
        self._events.close()

    def _read(self, after: str) -> None:
        with redis.Redis.from_url(self._stack.instance.events_url("operator")) as events:
            while not self._ended.is_set():
                # half a second at most, so that the end is noticed
                reply: Any = events.xread({keys.DECISIONS: after}, block=500, count=100)
                now = time.time()
                for _, entries in reply.items() if isinstance(reply, dict) else reply or ():
                    for entry, fields in entries:
                        after = entry
                        self.came[fields[b"event_id"].decode()] = now

    def send(self) -> tuple[str, float]:
        """Send one; return its id and when."""
        self._person = self._person % _PEOPLE + 1
        called = time.time()
        return producer.signup(self._events, self._person), called

    def recorded(self, event_id: str) -> float:
        """Return when a decision was written to the ledger."""
        engine = database.engine(self._stack.instance.app_db_url("airlane_owner"))
        with engine.connect() as connection:
            statement = "SELECT decided_at FROM ledger WHERE event_id = %s"
            moment = connection.exec_driver_sql(statement, (event_id,)).scalar_one()
        return float(moment.timestamp())

    def seconds(self, sent: dict[str, float]) -> list[float]:
        """Await the decisions of sign-ups, and return how long each took to come."""
        await_true(
            lambda: sent.keys() <= self.came.keys(), _DEADLINE, f"{len(sent)} decisions", 0.02
        )
        return [self.came[event] - called for event, called in sent.items()]


def _ensure_model(stack: AirlaneStack) -> None:
    folder = stack.instance.models
    try:
        promoted(folder)
    except NoModelError:
        runs.run(stack, "train_risk_model", _DEADLINE)


def _first_task(stack: Stack, plan: Plan) -> Results:
    if isinstance(stack, AirlaneStack):
        yield from _first_task_of_signups(stack, plan)
        return
    found = Measurement()
    for _ in range(plan.samples(stack, _COUNT)):
        time.sleep(plan.random.uniform(0, 1))
        found.samples.append(runs.run(stack, "chain6").first_start)
    found.notes.append("stock has no intake: from the call that creates a run of chain6")
    yield "event_to_first_task", found


def _first_task_of_signups(stack: AirlaneStack, plan: Plan) -> Results:
    _ensure_model(stack)
    first, decision = Measurement(), Measurement()
    with _Signups(stack) as signups:
        signups.seconds(dict([signups.send()]))  # a warm-up
        for _ in range(plan.samples(stack, _COUNT)):
            time.sleep(plan.random.uniform(0, 1))
            event_id, called = signups.send()
            decision.samples += signups.seconds({event_id: called})
            run = _run_of(stack, event_id, called)
            first.samples.append(run.first_start)
            chain = stages.of_chain(run)
            # the steps are no chain: what lies between them has no meaning
            chain.pop(stages.END_TO_SCHEDULED)
            chain[stages.DECISION] = [signups.came[event_id] - signups.recorded(event_id)]
            first.stages = stages.merge((first.stages, chain))
    yield "event_to_first_task", first
    yield "signup_decision", decision


def _run_of(stack: Stack, event_id: str, called: float) -> stages.RunTimes:
    run_id = f"signup-{event_id}"
    # the decision comes before the run's end
    await_true(lambda: stack.metadata.ended(_DAG, run_id), _DEADLINE, "the run to end", 0.05)
    return stack.metadata.run(_DAG, run_id, called)


def _sustained(stack: Stack, plan: Plan) -> Results:
    assert isinstance(stack, AirlaneStack)
    _ensure_model(stack)
    with _Signups(stack) as signups:
        burst = dict(signups.send() for _ in range(int(plan.seconds(30, 20))))
        signups.seconds(burst)
        # from the first event to the last decision: the runs of a burst go on side by side and end
        # together, so that the pace of their ends says nothing
        last = max(signups.came[event] for event in burst)
        capacity = len(burst) / (last - min(burst.values()))
        yield "signups_per_second", Measurement([capacity])
        for percent in (50, 90):
            stack.await_idle()
            rate = capacity * percent / 100
            sent = _paced(signups, rate, 20)
            measured = Measurement(signups.seconds(sent))
            measured.notes.append(f"{rate:.2f} sign-ups a second")
            yield f"signup_decision_{percent}", measured


def _paced(signups: _Signups, rate: float, seconds: float) -> dict[str, float]:
    """Send sign-ups at a rate, whatever becomes of them."""
    sent: dict[str, float] = {}
    begin = time.monotonic()
    while (due := len(sent) / rate) < seconds:
        time.sleep(max(0.0, begin + due - time.monotonic()))
        event_id, called = signups.send()
        sent[event_id] = called
    return sent


GROUPS = (
    Group(
        "event_to_first_task",
        (
            Case("event_to_first_task", "From an event to the start of its first task, idle"),
            Case(
                "signup_decision",
                "From a sign-up to its decision in the stream, idle",
                stacks=_AIRLANE,
            ),
        ),
        _first_task,
        Cost(stock=29, airlane=23),
        rounds=1,
    ),
    Group(
        "signups",
        (
            Case(
                "signups_per_second",
                "Sign-ups decided, at saturation",
                "sign-ups/s",
                higher_is_better=True,
                stacks=_AIRLANE,
            ),
            *(
                Case(
                    f"signup_decision_{percent}",
                    f"A sign-up's decision at {percent} % of that rate",
                    stacks=_AIRLANE,
                )
                for percent in (50, 90)
            ),
        ),
        _sustained,
        Cost(stock=0, airlane=63),
        rounds=1,
    ),
)
