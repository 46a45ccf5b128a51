"""What a worker consumes on and off duty, and how it comes from the one to the other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from workers import duty
from workers.duty import Duty

NODE = "batch@w3"
OWN = "canary.batch@w3"
SERVED = ("onboarding", "control", "batch")


class Consumer:
    """Celery's consumer as far as duty sees it: queues in the order in which they are asked."""

    def __init__(self, *names: str) -> None:
        self.hostname = NODE
        self.names = list(names)
        #: What is consumed after the next reconnect.
        self.selected: tuple[str, ...] = ()
        self.app = SimpleNamespace(amqp=SimpleNamespace(queues=self))

    @property
    def task_consumer(self) -> SimpleNamespace:
        return SimpleNamespace(queues=[SimpleNamespace(name=name) for name in self.names])

    def select(self, names: tuple[str, ...]) -> None:
        self.selected = tuple(names)

    def cancel_task_queue(self, name: str) -> None:
        self.names.remove(name)

    def add_task_queue(self, name: str) -> None:
        self.names.append(name)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that takes the worker off duty."""
    file = tmp_path / "off-duty"
    monkeypatch.setenv(duty.VARIABLE, str(file))
    return file


def looking(consumer: Consumer) -> Duty:
    found = Duty(SERVED)
    found._ready(sender=consumer)
    return found


def test_a_worker_is_on_duty_where_no_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(duty.VARIABLE, raising=False)
    assert duty.queues(SERVED, NODE) == (OWN, *SERVED)


def test_it_starts_off_duty_when_the_file_is_there(mark: Path) -> None:
    mark.touch()
    consumer = Consumer()
    Duty(SERVED)._begin(sender=NODE, instance=consumer)
    assert consumer.selected == (OWN,)


def test_it_goes_off_duty_and_comes_back_in_the_order_of_urgency(mark: Path) -> None:
    consumer = Consumer(OWN, *SERVED)
    look = looking(consumer)._look
    mark.touch()
    look()
    assert consumer.names == [OWN]
    assert consumer.selected == (OWN,)
    mark.unlink()
    look()
    assert consumer.names == [OWN, *SERVED]
    assert consumer.selected == (OWN, *SERVED)


@pytest.mark.parametrize("left", [(OWN, "batch"), (OWN, "onboarding", "batch"), SERVED, ()])
@pytest.mark.usefixtures("mark")
def test_queues_that_were_lost_come_back_before_less_urgent_ones(left: tuple[str, ...]) -> None:
    consumer = Consumer(*left)
    looking(consumer)._look()
    assert consumer.names == [OWN, *SERVED]


@pytest.mark.usefixtures("mark")
def test_a_worker_that_stops_takes_no_queue_back() -> None:
    consumer = Consumer()
    found = looking(consumer)
    found._stop()
    found._look()
    assert consumer.names == []


@pytest.mark.usefixtures("mark")
def test_what_goes_wrong_is_tried_again_at_the_next_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = Consumer(OWN)
    look = looking(consumer)._look
    with monkeypatch.context() as broken:
        broken.delattr(Consumer, "add_task_queue")
        look()
    assert consumer.names == [OWN]
    look()
    assert consumer.names == [OWN, *SERVED]
