"""Which fields `explain` knows: those that the events of a stream make, of every projection, owned or shared."""

import json
from typing import Any

import pytest

from projections.catalogue import EVERY, catalogue_for
from projections.kinds import StreamProjection
from projections.paths import fields_of
from tests.support.commands import sevenp_worker
from tests.support.courses import CREATED, STREAM, event_of, sent
from tests.unit.projections.events import course_event
from tests.unit.projections.histories import history_of
from worker.app.exits import ExitCode
from worker.queries.explain import explain
from worker.queries.explained import UnknownField
from worker.settings import variable
from worker.storage.database import Database, open_database

REASON = "price_unlike_type"
PRICED = [
    sent("course_created", 0, **CREATED, pricing={"type": "paid"}),
    sent("course_priced", 1, pricing={"type": "free"}),
    sent("course_priced", 2, pricing={"price": {"amount": "9.00", "currency": "EUR"}}),
]

every_projection = pytest.mark.parametrize("projection", EVERY.streams, ids=lambda each: each.name)


@pytest.fixture
def own(database: Database) -> Database:
    """The database of a worker that owns courses and users."""
    return open_database(database.client, database.prefix, EVERY)


async def stored(database: Database, projection: StreamProjection) -> str:
    history = history_of(projection)
    await database.course_events.insert_many([course_event(each) for each in history])
    return history[0].stream_id


@every_projection
async def test_every_field_that_a_projection_owns_is_known_and_no_other(
    own: Database, projection: StreamProjection
) -> None:
    stream, collection = await stored(own, projection), projection.target.collection
    owned = fields_of(projection.paths)
    for field in (*owned, *projection.dotted):
        found = await explain(own, stream, f"{collection}.{field}")
        assert [each.collection for each in found.documents] == [collection]
    shapes = projection.target.shapes
    written = {each.alias or name for shape in shapes for name, each in shape.model_fields.items()}
    for field in ("grade", *sorted(written - {*owned})):  # and what others write there
        with pytest.raises(UnknownField) as refused:
            await explain(own, stream, f"{collection}.{field}")
        reason = f"make no field {collection}.{field}: in {collection} the document has "
        _, there, named = str(refused.value).partition(reason)
        assert there, refused.value
        assert sorted(named.split(", ")) == sorted(owned)


@every_projection
async def test_a_field_that_is_told_can_be_asked_for(own: Database, projection: StreamProjection) -> None:
    stream, collection = await stored(own, projection), projection.target.collection
    told = {each.field for each in (await explain(own, stream)).changes if each.collection == collection}
    assert len(told) > 3
    for field in told:
        assert (await explain(own, stream, f"{collection}.{field}")).changes


@pytest.mark.slow
async def test_the_command_tells_of_a_courses_prices_and_of_what_had_no_effect(
    database: Database, settings: dict[str, str]
) -> None:
    owned = open_database(database.client, database.prefix, catalogue_for({"courses"}))
    documents = [event_of(fields, number) for number, fields in enumerate(PRICED, start=1)]
    await owned.course_events.insert_many(documents)
    settings = {**settings, variable("courses_owner"): "worker"}

    async def told(field: str) -> list[dict[str, Any]]:
        ended = await sevenp_worker(settings, "explain", STREAM, field, "--json")
        assert ended.code == ExitCode.OK, ended.output
        changes: list[dict[str, Any]] = json.loads(ended.output)["changes"]
        return [each for each in changes if each["collection"] == "courses"]

    priced = [(each["version"], each["field"], each["value"]) for each in await told("pricing")]
    assert (1, "pricing.type", "paid") in priced
    assert (2, "pricing.type", "free") in priced
    assert {version for version, *_ in priced} == {1, 2}

    without = {each["field"]: each for each in await told("without_effect")}
    assert {(each["version"], each["event_id"]) for each in without.values()} == {
        (3, str(documents[2]["_id"]))
    }
    assert without[f"without_effect.reasons.{REASON}"]["value"] == 1
    assert [each["event_id"] for each in without["without_effect.latest"]["value"]] == [
        str(documents[2]["_id"])
    ]
    table = await sevenp_worker(settings, "explain", STREAM, "without_effect")
    assert (table.code, f"courses.without_effect.reasons.{REASON}" in table.output) == (ExitCode.OK, True)
