"""Write what the documentation says of queues.yaml from the models that read it: `make docs`."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_config import queue_schema

DOCS = Path(__file__).resolve().parent.parent / "docs"
#: Around the tables in docs/queues.md.
BEGIN = "<!-- Written by `make docs` from airflow_config/queue_entries.py. -->\n\n"
END = "\n<!-- End of what `make docs` writes. -->\n"


def pages() -> dict[Path, str]:
    """Return the files that follow from the models: path -> text."""
    guide = DOCS / "queues.md"
    text = guide.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"expected the lines {BEGIN!r} and {END!r} in {guide}, found none")
    return {
        DOCS / "queues.schema.json": json.dumps(queue_schema.schema(), indent=2) + "\n",
        guide: before + begin + queue_schema.tables() + end + after,
    }


if __name__ == "__main__":
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.name} written")
