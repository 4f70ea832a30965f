"""The table of docs/logs.md: level and fields of every event from the source, the meaning from whoever wrote it.

`python -m tests.support.log_page` brings it up to date; what is new has the meaning `?`, which a test refuses.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.log_calls import ROOT, log_calls

PAGE = ROOT / "docs" / "logs.md"
UNKNOWN = "?"
_HEAD = "| event | level | fields | meaning |\n|---|---|---|---|\n"
_ROW = re.compile(r"^\| `([^`|]+)` \| ([^|]*) \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)


class Row(NamedTuple):
    """One event as the table shows it."""

    levels: str
    fields: str
    meaning: str


def rows_of(page: str) -> dict[str, Row]:
    """The rows that stand in the page, in their order."""
    return {event: Row(*map(str.strip, cells)) for event, *cells in _ROW.findall(page)}


def rows_of_source(known: Mapping[str, Row]) -> dict[str, Row]:
    """The rows that should stand there, sorted; meanings are the known ones."""
    levels, fields = defaultdict[str, set[str]](set), defaultdict[str, dict[str, None]](dict)
    for call in log_calls():
        levels[call.event].add(call.level)
        fields[call.event].update(dict.fromkeys(call.fields))
    return {
        event: Row(
            ", ".join(sorted(levels[event])),
            ", ".join(f"`{name}`" for name in sorted(fields[event])),
            known[event].meaning if event in known else UNKNOWN,
        )
        for event in sorted(levels)
    }


def brought_up_to_date(page: str) -> str:
    """The page with the table as the source has it now."""
    before, _, _ = page.partition(_HEAD)
    lines = [f"| `{event}` | {' | '.join(row)} |\n" for event, row in rows_of_source(rows_of(page)).items()]
    return before + _HEAD + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(brought_up_to_date(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
