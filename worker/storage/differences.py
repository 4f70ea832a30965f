"""How collections should be, how they are, and what differs; decided without a server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projections.kinds import Catalogue, Index
from worker.settings import RetentionSettings
from worker.storage import expiry
from worker.storage.database import FORMER, Document, collections_of
from worker.storage.expiry import Duration, in_days
from worker.storage.indexes import described, indexes_of
from worker.storage.models import LEASES_OF_NOW, models_of
from worker.storage.validators import STRICT, validator

TIME_SERIES: Mapping[str, Document] = {
    "user_interactions": {"timeField": "timestamp", "metaField": "metadata", "granularity": "minutes"}
}
USUAL = RetentionSettings()
"""How long anything is kept where nobody says otherwise."""
_ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the code needs it, in words for a table."""

    collection: str
    what: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """How one collection should be; `stricter` is a validator that is as good.

    `kept_s` is how long rows of a time series are kept, 0 for ever, None where that is nobody's concern.
    """

    collection: str
    validator: Document | None
    stricter: Document | None
    time_series: Document | None
    indexes: tuple[Index, ...]
    kept_s: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """How one collection is: `options` as the server lists them, None where there is no such collection."""

    options: Mapping[str, Any] | None
    indexes: tuple[Document, ...] = ()

    def index(self, name: str) -> Document | None:
        return next((index for index in self.indexes if index["name"] == name), None)


def wanted_of(catalogue: Catalogue, retention: RetentionSettings = USUAL) -> tuple[Wanted, ...]:
    """How each collection should be for these projections."""
    models, indexes = models_of(catalogue), indexes_of(catalogue, retention)
    return tuple(
        Wanted(
            collection=name,
            validator=validator(models[name]) if name in models else None,
            stricter=validator(LEASES_OF_NOW) if name == "leases" else None,
            time_series=TIME_SERIES.get(name),
            indexes=tuple(index for index in indexes if index.collection == name),
            kept_s=retention.time_series_s if name in TIME_SERIES else None,
        )
        for name in collections_of(catalogue)
        if name not in FORMER
    )


def differences(wanted: Wanted, found: Found) -> list[Difference]:
    """What of one collection is not as wanted, durations aside. Further indexes and options are nobody's concern."""
    name = wanted.collection
    if found.options is None:
        return [Difference(name, "collection", "present", _ABSENT)]
    result = []
    if not _same_time_series(wanted.time_series, found.options.get("timeseries")):
        expected, actual = str(wanted.time_series), str(found.options.get("timeseries", "a plain collection"))
        result.append(Difference(name, "time series", expected, actual))
    if not same_validator(wanted, found.options):
        actual = "another one" if found.options.get("validator") else _ABSENT
        result.append(Difference(name, "validator", "the one made from the code's models", actual))
    for index in wanted.indexes:
        expected_index, actual_index = described(index.specification()), found.index(index.name)
        if actual_index is None:
            result.append(Difference(name, f"index {index.name}", str(expected_index), _ABSENT))
        elif not _same_index(index, actual_index):
            actual = str(described(actual_index))
            result.append(Difference(name, f"index {index.name}", str(expected_index), actual))
    return result


def durations(wanted: Wanted, found: Found) -> list[Duration]:
    """What of one collection is kept longer or shorter than wanted."""
    if found.options is None:
        return []
    same = [(index, found.index(index.name)) for index in wanted.indexes]
    of_indexes = [
        expiry.duration_of_index(index, actual)
        for index, actual in same
        if actual and _same_index(index, actual)
    ]
    of_series = expiry.duration_of_series(wanted.collection, wanted.kept_s, found.options)
    return [each for each in (*of_indexes, of_series) if each is not None]


def _same_index(index: Index, found: Document) -> bool:
    """Whether it means the same, however long it keeps what expires by it."""
    expected, duration = described(index.specification()), expiry.duration_of_index(index, found)
    return expected == described(
        found if duration is None else {**found, "expireAfterSeconds": duration.wanted_s}
    )


def in_words(duration: Duration) -> Difference:
    """As a line of the table of differences."""
    wanted, found = in_days(duration.wanted_s), in_days(duration.found_s)
    return Difference(duration.collection, duration.what, f"kept {wanted}", f"kept {found}")


def validation(wanted: Wanted) -> Document:
    """The options by which a collection refuses what its validator does not allow."""
    return {} if wanted.validator is None else {"validator": wanted.validator, **STRICT}


def same_validator(wanted: Wanted, options: Mapping[str, Any]) -> bool:
    """A validator is as wanted when it also refuses, for every write; where we want none, any will do."""
    if wanted.validator is None:
        return True
    allowed = (wanted.validator, wanted.stricter or wanted.validator)
    enforced = {name: options.get(name, value) for name, value in STRICT.items()}
    return options.get("validator") in allowed and enforced == STRICT


def _same_time_series(wanted: Document | None, found: Mapping[str, Any] | None) -> bool:
    """The server adds options of its own (the span of a bucket): only ours are compared."""
    if wanted is None or found is None:
        return wanted is found
    return all(found.get(option) == value for option, value in wanted.items())
