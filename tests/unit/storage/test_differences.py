"""What of one collection differs from what is wanted, decided without a server."""

from typing import Any

import pytest

from projections.catalogue import CATALOGUE
from worker.storage.database import COLLECTIONS, FORMER
from worker.storage.differences import TIME_SERIES, Found, Wanted, differences, wanted_of
from worker.storage.models import MODELS

WISHES = {wanted.collection: wanted for wanted in wanted_of(CATALOGUE)}


def _as_wanted(wanted: Wanted) -> Found:
    options: dict[str, Any] = {"validator": wanted.validator} if wanted.validator else {}
    if wanted.time_series:
        options["timeseries"] = {**wanted.time_series, "bucketMaxSpanSeconds": 86_400}
    return Found(options, tuple(index.specification() for index in wanted.indexes))


def test_every_collection_is_wanted_and_every_one_the_worker_writes_has_a_validator() -> None:
    assert list(WISHES) == [name for name in COLLECTIONS if name not in FORMER]
    unchecked = {name for name, wanted in WISHES.items() if wanted.validator is None}
    assert unchecked == {"cache", *TIME_SERIES}
    assert {name for name, wanted in WISHES.items() if wanted.validator} == set(MODELS) - FORMER


@pytest.mark.parametrize("name", WISHES)
def test_a_collection_as_wanted_differs_in_nothing(name: str) -> None:
    assert differences(WISHES[name], _as_wanted(WISHES[name])) == []


def test_an_absent_collection_is_one_difference() -> None:
    (difference,) = differences(WISHES["users"], Found(options=None))
    assert (difference.what, difference.expected, difference.found) == ("collection", "present", "absent")


@pytest.mark.parametrize("option", ["validationLevel", "validationAction"])
def test_a_validator_that_only_warns_is_a_difference(option: str) -> None:
    found = _as_wanted(WISHES["leases"])
    weakened = Found({**(found.options or {}), option: "other"}, found.indexes)
    assert [difference.what for difference in differences(WISHES["leases"], weakened)] == ["validator"]


def test_other_time_series_options_are_a_difference() -> None:
    wanted = WISHES["user_interactions"]
    options = {"timeseries": {**TIME_SERIES["user_interactions"], "granularity": "hours"}}
    (difference,) = differences(wanted, Found(options, _as_wanted(wanted).indexes))
    assert difference.what == "time series"


def test_a_time_series_in_place_of_a_plain_collection_is_a_difference() -> None:
    wanted = WISHES["cache"]
    options = {"timeseries": TIME_SERIES["user_interactions"]}
    (difference,) = differences(wanted, Found(options, _as_wanted(wanted).indexes))
    assert difference.what == "time series"
