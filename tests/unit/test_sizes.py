import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from airflow_config import queues
from airflow_config.sizes import UNITS, Size, format_size, parse_size


@pytest.mark.parametrize(("text", "size"), [("512MiB", 512 * 2**20), ("4GiB", 4 * 2**30)])
def test_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "512", 512, "0MiB", "1.5GiB", "1GB", "1G", "1 GiB", None])
def test_refuses_what_has_no_single_reading(text):
    with pytest.raises(ValueError, match="expected an amount of memory such as 512MiB or 4GiB"):
        parse_size(text)


@given(st.integers(1, 999_999), st.sampled_from(sorted(UNITS)))
def test_what_is_written_reads_back_equal(number, unit):
    size = parse_size(f"{number}{unit}")
    assert size == number * UNITS[unit]
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("size", [0, 1, 2**20 + 1])
def test_writes_whole_mebibytes_only(size):
    with pytest.raises(ValueError, match="whole number of MiB"):
        format_size(size)


def test_as_a_field():
    class Model(BaseModel):
        size: Size

    model = Model(size="2GiB")
    assert model.size == 2 * 2**30
    assert model.model_dump_json() == '{"size":"2GiB"}'
    with pytest.raises(ValidationError, match="expected an amount of memory"):
        Model(size="2")


MODEL = """\
queues:
  work: {priority: 1, default: true, task_timeout: 5m, task_memory: %s}
workers:
  work: {home: work, concurrency: 1}
"""


def test_a_queue_limits_its_tasks():
    assert queues.read(MODEL % "256MiB").queues["work"].task_memory == 256 * 2**20


def test_a_wrong_amount_is_named():
    with pytest.raises(queues.QueuesError, match=r"task_memory: expected an amount .* found '1GB'"):
        queues.read(MODEL % "1GB")
