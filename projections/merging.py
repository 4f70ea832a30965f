"""Documents that events describe piece by piece: for each path the latest word counts, whatever the order of arrival.

A piece names some fields and leaves out others, which stay. An object is merged field by field, null removes what is
there, and anything else, a list too, takes the place of what was there. What is said of a whole object (null, or a
value that is none) is said of all its fields. An empty object says nothing.

Beside the values stand stamps: by name `[at, event_id]` of the last word about that path, and what is known of its
fields, `[at, event_id, {name: …}]`; both are null where only fields of it were named.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

from worker.contract.fields import whole
from worker.contract.times import parse_time

Order = tuple[datetime, UUID]
"""Of an event: occurred_at, then event_id."""
Stamps = dict[str, Any]
Pattern = tuple[str, ...]
"""The names on the way to a value; `*` stands for every element of a list."""

_AT, _ID, _FIELDS = range(3)


def merge(
    stamps: Stamps,
    values: dict[str, Any],
    patch: Mapping[str, Any],
    order: Order,
    *,
    leaves: Set[Pattern] = frozenset(),
    at: Pattern = (),
) -> None:
    """Take the piece `patch`, said at `order`, into `values`; both it and `stamps` are changed in place.

    What stands at one of the paths `leaves` is one value though it is an object. `at` is where the piece itself is.
    """
    for name, given in patch.items():
        stamp = stamps.get(name) or [None, None]
        if isinstance(given, Mapping) and (*at, name) not in leaves:
            if _says_nothing(given) or _later(stamp, order):
                continue
            if not isinstance(values.get(name), dict):
                values[name] = {}
            fields = stamp[_FIELDS] if len(stamp) > _FIELDS else {}
            merge(fields, values[name], given, order, leaves=leaves, at=(*at, name))
            stamps[name] = [stamp[_AT], stamp[_ID], fields]
            if not values[name]:
                del values[name]
        elif not _later(stamp, order):
            fields = stamp[_FIELDS] if len(stamp) > _FIELDS else {}
            _forget(fields, values.get(name), order)
            stamps[name] = [*order, fields] if fields else [*order]
            if not fields and given is not None:
                values[name] = given
            elif not values.get(name) or not fields:
                values.pop(name, None)


def hide(stamps: Stamps, values: dict[str, Any], name: str, order: Order) -> None:
    """What was said of a path up to `order` counts no more: null was said there at that moment."""
    merge(stamps, values, {name: None}, order)


def opened(value: Any) -> Any:
    """A copy of stored stamps or values to be merged into: objects are copied, everything else is shared.

    The list of a stamp is replaced by merging, never changed, but for the fields in it.
    """
    if isinstance(value, Mapping):
        return {name: opened(each) for name, each in value.items()}
    return value


def opened_stamps(stamps: Mapping[str, Any]) -> Stamps:
    """A copy of stored stamps."""
    return {
        name: [*stamp[:_FIELDS], *(opened_stamps(fields) for fields in stamp[_FIELDS:])]
        for name, stamp in stamps.items()
    }


def closed(value: Any) -> Any:
    """The same with the names of objects in their order, whatever the order in which they came."""
    if isinstance(value, Mapping):
        return {name: closed(value[name]) for name in sorted(value)}
    return [closed(each) for each in value] if isinstance(value, list) else value


def converted(
    value: Any, *, ids: Sequence[Pattern] = (), times: Sequence[Pattern] = (), at: Pattern = ()
) -> Any:
    """What a document holds of details as they were written: ids, times and whole numbers in their own types."""
    if isinstance(value, Mapping):
        return {name: converted(each, ids=ids, times=times, at=(*at, name)) for name, each in value.items()}
    if isinstance(value, list):
        return [converted(each, ids=ids, times=times, at=(*at, "*")) for each in value]
    if isinstance(value, str):
        return ObjectId(value) if at in ids else parse_time(value) if at in times else value
    return whole(value)


def _later(stamp: Sequence[Any], order: Order) -> bool:
    """Whether something was said of the whole path after `order`."""
    return stamp[_AT] is not None and (stamp[_AT], stamp[_ID]) > order


def _forget(fields: Stamps, values: Any, order: Order) -> None:
    """Drop what was said of these fields up to `order`."""
    known = values if isinstance(values, dict) else {}
    for name, stamp in list(fields.items()):
        if _later(stamp, order):
            continue
        below = stamp[_FIELDS] if len(stamp) > _FIELDS else {}
        _forget(below, known.get(name), order)
        if below:
            fields[name] = [None, None, below]
            if not known.get(name):
                known.pop(name, None)
        else:
            del fields[name]
            known.pop(name, None)


def _says_nothing(given: Mapping[str, Any]) -> bool:
    return all(isinstance(each, Mapping) and _says_nothing(each) for each in given.values())
