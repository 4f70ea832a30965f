"""The page docs/data-map.md, made of the families: `python -m worker.contract.data_map_page > docs/data-map.md`."""

import sys
from collections.abc import Iterator

from worker.contract.data_class import DataClass
from worker.contract.data_map import ENVELOPE, fields_of, stored_at
from worker.contract.families import FAMILIES
from worker.contract.family import Family
from worker.contract.routes import USUAL_TOPICS

_MEANINGS = {
    DataClass.IDENTIFIER: "names a person or a thing by an id that says nothing by itself",
    DataClass.PERSONAL: "says who a person is, or is a person's own words; lies in the stored event's `personal`",
    DataClass.SENSITIVE: "says something of a person that only ids name: results, payments, behaviour",
    DataClass.INTERNAL: "of the platform's own running",
    DataClass.PUBLIC: "what the platform shows to everybody, or may",
}
_HEAD = """# Data map

Made from the families in `worker/contract/events/` by `python -m worker.contract.data_map_page > docs/data-map.md`;
a test holds it against the code.

Every field that an event can have, its privacy class, and where it lies in the stored event (`course_events`). A
field of a list's elements stands under the list's path; `*` stands for keys that the contract does not name. Payloads
of whatever class are never logged, and no metric has one.

"""


def page() -> str:
    """The whole page."""
    classes = "".join(f"| {each} | {meaning} |\n" for each, meaning in _MEANINGS.items())
    common = "".join(
        f"| `{path}` | {of} | `{stored_at('', path, FAMILIES[0])}` |\n" for path, of in ENVELOPE.items()
    )
    return (
        f"{_HEAD}| class | a field that |\n|---|---|\n{classes}\n## Of all events\n\n"
        f"| field | class | stored as |\n|---|---|---|\n{common}{''.join(_section(each) for each in FAMILIES)}"
    )


def _section(family: Family) -> str:
    head = f"\n## {family.name.capitalize()} ({USUAL_TOPICS.of(family.inlet)})\n\n"
    table = "| field | class | stored as | event types |\n|---|---|---|---|\n"
    return head + table + "".join(_rows(family))


def _rows(family: Family) -> Iterator[str]:
    """A row for each field that is not said of all events; types that differ in class or place have one each."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for event_type, path, of in fields_of(family):
        if path not in ENVELOPE or path in family.classes:
            rows.setdefault((path, str(of), stored_at(event_type, path, family)), []).append(event_type)
    for (path, name, place), types in rows.items():
        which = "all" if len(types) == len(family.events) else ", ".join(f"`{each}`" for each in types)
        yield f"| `{path}` | {name} | `{place}` | {which} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
