"""What other languages get: a schema and examples that say the same as the code."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.contract.records import accepted
from worker.contract.export import examples, json_schema, write
from worker.contract.families import ALL_TYPES, families_of
from worker.contract.family import EventTypes, Inlet
from worker.contract.models import Envelope

EVENT_TYPES = tuple(ALL_TYPES.by_name)
INLETS = [inlet for inlet in Inlet if families_of(inlet)]


def _model(event_type: str) -> type[Envelope]:
    return ALL_TYPES.by_name[event_type].events[event_type]


def _definition(event_type: str) -> dict[str, Any]:
    schema = json_schema(ALL_TYPES.by_name[event_type].inlet)
    name = schema["discriminator"]["mapping"][event_type].removeprefix("#/$defs/")
    definition: dict[str, Any] = schema["$defs"][name]
    return definition


@pytest.mark.parametrize("inlet", INLETS)
def test_the_schema_is_one_document_of_draft_2020_12_for_all_types_of_a_topic(inlet: Inlet) -> None:
    schema = json_schema(inlet)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["discriminator"]["mapping"]) == set(EventTypes(families_of(inlet)).by_name)
    named = {reference["$ref"] for reference in schema["oneOf"]}
    assert named == set(schema["discriminator"]["mapping"].values())


def test_the_schema_of_what_learners_do_offers_null_nowhere() -> None:
    assert "null" not in json.dumps(json_schema())


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_type_s_schema_names_every_envelope_field_and_refuses_others(event_type: str) -> None:
    definition = _definition(event_type)
    assert set(definition["properties"]) == set(_model(event_type).model_fields)
    assert definition["additionalProperties"] is False


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_type_s_schema_requires_what_its_model_requires(event_type: str) -> None:
    fields = _model(event_type).model_fields
    assert set(_definition(event_type)["required"]) == {
        name for name, field in fields.items() if field.is_required()
    }


def test_there_is_one_valid_example_of_every_type() -> None:
    assert tuple(examples()) == EVENT_TYPES
    assert [accepted(example).event_type for example in examples().values()] == list(EVENT_TYPES)


def test_the_examples_have_ids_of_their_own() -> None:
    assert len({example["event_id"] for example in examples().values()}) == len(EVENT_TYPES)


def test_export_writes_the_schema_and_one_file_per_example(tmp_path: Path) -> None:
    written = write(tmp_path / "new" / "folder")
    schemas, events = written[: len(INLETS)], written[len(INLETS) :]
    assert [json.loads(path.read_bytes()) for path in schemas] == [json_schema(inlet) for inlet in INLETS]
    assert schemas[0].name == "interaction-events.schema.json"
    assert {path.stem: json.loads(path.read_bytes()) for path in events} == examples()
    assert accepted((tmp_path / "new" / "folder" / "examples" / "view.json").read_bytes())


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in write(tmp_path)}
    assert {path: path.read_bytes() for path in write(tmp_path)} == first
