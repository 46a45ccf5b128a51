"""The real book, for the tests of the packs: row n of the file is applicant n."""

import csv
import functools
from pathlib import Path

from dags.packs import applicant, training

CSV = Path(__file__).parents[2] / "data" / "german_credit.csv"


@functools.cache
def labelled():
    with CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(n, row, row.pop(applicant.LABEL)) for n, row in enumerate(rows, start=1)]


def record(entity_id):
    return dict(labelled()[entity_id - 1][1])


def person(entity_id, **changes):
    return applicant.parse({**record(entity_id), **changes})


@functools.cache
def trained():
    return training.train(labelled())


def learnt(pack):
    return trained().info["reference"][pack]
