"""What the profiler has recorded: queries by their shape, without a value, and which index would serve them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.errors import Retryable, WorkerError
from worker.operate.asking import NotTold
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.words import counted

_LIMIT_MS = 5_000
# The profiler's own collection holds 1 MB, some thousand queries.
_MOST_ENTRIES = 5_000
_LONGEST_SHAPE = 200
# Of an aggregation that sums, what it returns says nothing about what it has to read.
_SUMMING = ("$group", "$count", "$sortByCount", "$bucket", "$bucketAuto", "$facet")
_FIELDS = (
    *("ts", "op", "ns", "command", "originatingCommand", "millis", "planSummary"),
    *("docsExamined", "nreturned", "nMatched", "ndeleted"),
)


@dataclass(frozen=True, slots=True)
class Profiled:
    """One recorded command, as far as findings look into it."""

    namespace: str
    operation: str
    filter: Mapping[str, Any]
    sort: Mapping[str, Any]
    sums: bool
    plan: str
    millis: int
    examined: int
    returned: int


@dataclass(frozen=True, slots=True)
class QueryKind:
    """All recorded commands of one shape: the query as an operator would write it, with `?` for its values."""

    namespace: str
    query: str
    index: str | None
    plans: Sequence[str]
    times: int
    total_ms: int
    longest_ms: int
    examined: int
    returned: int

    @property
    def examined_per_returned(self) -> float:
        return self.examined / max(1, self.returned)

    @property
    def words(self) -> str:
        """How often, how long, and what it read for what it returned."""
        return (
            f"{self.query}: {counted(self.times, 'time')}, {self.longest_ms:,} ms at most and {self.total_ms:,} ms "
            f"together; {counted(round(self.examined_per_returned), 'document')} examined for each returned "
            f"({', '.join(self.plans)})"
        )


async def read_profile(database: Database, since: datetime) -> Sequence[Profiled]:
    """What the profilers of the three databases have recorded since then. Raises NotTold where all are off."""
    found: list[Profiled] = []
    off = []
    for home in (database.content, database.analytics, database.config):
        entries = home.get_collection("system.profile").find(
            {"ts": {"$gte": since}}, dict.fromkeys(_FIELDS, 1), limit=_MOST_ENTRIES, max_time_ms=_LIMIT_MS
        )
        with translated():
            rows = await entries.to_list(None)
        if not rows and not await _is_on(home):
            off.append(home.name)
        found += [entry for row in rows if (entry := profiled(row)) is not None]
    if len(off) == 3:
        raise NotTold(
            "no profiler is on, so that slow queries are not recorded: in each database "
            f"({', '.join(off)}) db.setProfilingLevel(1, {{slowms: 100}}) turns it on"
        )
    return found


async def _is_on(home: Any) -> bool:
    try:
        with translated():
            return bool((await home.command({"profile": -1}))["was"])
    except Retryable:
        raise
    except WorkerError:
        return False


def profiled(entry: Document) -> Profiled | None:
    """None for what waits on purpose (change streams), and for the profiler's own collection."""
    command = entry.get("originatingCommand") or entry.get("command") or {}
    pipeline = [stage for stage in command.get("pipeline", ()) if isinstance(stage, Mapping)]
    if entry["ns"].endswith(".system.profile") or any("$changeStream" in stage for stage in pipeline[:1]):
        return None
    match: Any = next((stage["$match"] for stage in pipeline[:1] if "$match" in stage), {})
    sort: Any = next((stage["$sort"] for stage in pipeline if "$sort" in stage), {})
    asked = command.get("filter") or command.get("q") or command.get("query") or match
    return Profiled(
        namespace=entry["ns"],
        operation=_operation(entry, command),
        filter=asked if isinstance(asked, Mapping) else {},
        sort=command.get("sort") or sort,
        sums=any(name in stage for stage in pipeline for name in _SUMMING) or "count" in command,
        plan=entry.get("planSummary", "no plan"),
        millis=int(entry.get("millis", 0)),
        examined=int(entry.get("docsExamined", 0)),
        returned=int(entry.get("nreturned") or entry.get("nMatched") or entry.get("ndeleted") or 0),
    )


def _operation(entry: Document, command: Mapping[str, Any]) -> str:
    if entry["op"] in ("update", "remove", "insert"):
        return str(entry["op"])
    return next(iter(command), str(entry["op"]))


def kinds_of(entries: Iterable[Profiled]) -> Sequence[QueryKind]:
    """The entries by shape, those first that took most time together."""
    grouped: dict[tuple[str, str], list[Profiled]] = {}
    for entry in entries:
        grouped.setdefault((entry.namespace, query_of(entry)), []).append(entry)
    kinds = [
        QueryKind(
            namespace=namespace,
            query=query,
            index=index_for(some[0].filter, some[0].sort),
            plans=sorted({each.plan for each in some}),
            times=len(some),
            total_ms=sum(each.millis for each in some),
            longest_ms=max(each.millis for each in some),
            examined=sum(each.examined for each in some),
            returned=sum(each.returned for each in some),
        )
        for (namespace, query), some in grouped.items()
    ]
    return sorted(kinds, key=lambda kind: -kind.total_ms)


def query_of(entry: Profiled) -> str:
    """`find {stream_id: ?, version: {$gt: ?}} sort {version: 1}`: no value of anybody, whoever reads it."""
    sort = f" sort {_sorted_by(entry.sort)}" if entry.sort else ""
    return f"{entry.operation} {shape(entry.filter)[:_LONGEST_SHAPE]}{sort}"


def shape(value: Any) -> str:
    """Field names and operators; `?` for each value."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {shape(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return "[" + ", ".join(dict.fromkeys(map(shape, value))) + "]"
    return "?"


def index_for(asked: Mapping[str, Any], sort: Mapping[str, Any]) -> str | None:
    """The keys of an index that would serve it: what is equal, then the order, then ranges; None where none can."""
    equal: list[str] = []
    ranges: list[str] = []
    for name, value in _conditions(asked):
        operators = isinstance(value, Mapping) and any(key.startswith("$") for key in value)
        (ranges if operators and not set(value) <= {"$eq", "$in"} else equal).append(name)
    keys = dict.fromkeys(equal, 1) | {name: sort[name] for name in sort if name not in equal}
    keys |= {name: 1 for name in ranges if name not in keys}
    sortable = all(value in (1, -1) for value in keys.values())
    return _sorted_by(keys) if keys and sortable else None


def _conditions(asked: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in asked.items():
        if name == "$and" and isinstance(value, list):
            for part in value:
                if isinstance(part, Mapping):
                    yield from _conditions(part)
        elif not name.startswith("$"):
            yield name, value


def _sorted_by(keys: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{_quoted(name)}: {_direction(value)}" for name, value in keys.items()) + "}"


def _direction(value: Any) -> str:
    """1 and 1.0 are the same; what sorts by a score has no direction."""
    return str(int(value)) if isinstance(value, int | float) else "?"


def _quoted(name: str) -> str:
    return f'"{name}"' if "." in name else name
