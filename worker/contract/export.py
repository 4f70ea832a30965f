"""The contract for other languages: a JSON Schema of each topic's event types, and one valid example of each type."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Union
from uuid import UUID, uuid5

import orjson
from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from worker.contract.events.interactions import INTERACTIONS
from worker.contract.families import FAMILIES, families_of
from worker.contract.family import Family, Inlet
from worker.contract.fields import NOTE_BYTES
from worker.contract.limits import DEFAULT_LIMITS, Limits
from worker.contract.models import Envelope, by_type
from worker.contract.routes import USUAL_TOPICS
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION

EXAMPLES_FOLDER: Final = "examples"

# In every example; what else it has stands beside the model.
_ENVELOPE: Final[Mapping[str, Any]] = {
    "occurred_at": "2024-01-15T09:30:00.000Z",
    "producer": "learning-platform",
    "correlation_id": "corr_abc123",
    "schema_version": CURRENT_SCHEMA_VERSION,
}
# The ids of the first family's examples are counted, all others are made of their type.
_COUNTED: Final = "0b6c2f6e-6c1d-4c55-9a53-{:012x}"
_EXAMPLE_NAMESPACE: Final = UUID("0b6c2f6e-6c1d-4c55-9a53-000000000000")


def unsaid(limits: Limits, *, secrets: bool = False) -> tuple[str, ...]:
    """What a JSON Schema cannot say of the events of an inlet."""
    of_secrets = (
        "a password, a social security number or what looks like a card number, wherever it stands",
    )
    return (
        f"a record of more than {limits.max_record_bytes} bytes",
        f"`details` of more than {limits.max_details_bytes} bytes as compact JSON",
        f"`details` of more than {limits.max_details_keys} keys in all",
        f"`details` of more than {limits.max_details_depth} levels",
        f"a note of more than {NOTE_BYTES} bytes",
        "a whole number beyond 64 bits",
        "the same key twice in an object, half of a surrogate pair, and what is no JSON",
        f"`occurred_at` more than {limits.max_future.total_seconds() / 3600:g} hours after the record's own time",
        *(of_secrets if secrets else ("a payment that holds what looks like a card number",)),
        "an `event_id` that was used for another event",
    )


UNSAID: Final = unsaid(DEFAULT_LIMITS)
"""Of what learners do."""

_TITLES: Final[Mapping[Inlet, str]] = {
    Inlet.INTERACTIONS: "Learner event",
    Inlet.CONTENT: "Content event",
    Inlet.ACCOUNTS: "Account event",
    Inlet.BILLING: "Billing event",
    Inlet.WORKER: "Event of the worker's own",
}
_ANYTHING: Final[Mapping[str, Any]] = {"$ref": "#/$defs/Anything"}
# MongoDB and BSON: no NUL, no dot, no leading $, at any depth.
_ANY_KEYS: Final[Mapping[str, Any]] = {
    "additionalProperties": _ANYTHING,
    "propertyNames": {"pattern": r"^([^$.\u0000][^.\u0000]*)?$"},
}


class _Generator(GenerateJsonSchema):
    """Says of an optional field only that it may be left out: `null` is refused, so it is no default."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def generate(
        self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation"
    ) -> JsonSchemaValue:
        return {"$schema": self.schema_dialect, **super().generate(schema, mode=mode)}


def schema_file(inlet: Inlet) -> str:
    """The schema's file, by what the inlet's topic is usually called."""
    return f"{USUAL_TOPICS.of(inlet)}.schema.json"


def json_schema(inlet: Inlet = Inlet.INTERACTIONS) -> dict[str, Any]:
    """One document (draft 2020-12) that accepts and refuses what the worker does, but for what `unsaid` lists.

    Patterns say what a `format` would: most validators do not check formats. Only an `ip_address` needs them checked.
    """
    models = dict.fromkeys(model for family in families_of(inlet) for model in family.events.values())
    any_event: Any = Union[*models]
    if len(models) > 1:
        any_event = Annotated[any_event, Field(discriminator="event_type")]
    schema: dict[str, Any] = TypeAdapter(any_event).json_schema(schema_generator=_Generator)
    if len(models) == 1:
        schema = _as_one_of(schema, *models)
    refused = [
        *unsaid(inlet.limits or DEFAULT_LIMITS, secrets=inlet.refuses_secrets),
        *(clause for family in families_of(inlet) for clause in family.unsaid),
    ]
    schema["title"] = _TITLES[inlet]
    schema["description"] = (
        "One JSON object per Kafka record, in UTF-8. The worker accepts and refuses what this schema does (formats "
        f"checked), and refuses besides: {'; '.join(refused)}."
    )
    _bound_keys(schema)
    schema.setdefault("$defs", {})["Anything"] = {
        "description": "Any JSON value.",
        "items": _ANYTHING,
        **_ANY_KEYS,
    }
    return schema


def _as_one_of(schema: dict[str, Any], model: type[Envelope]) -> dict[str, Any]:
    """The schema of a single model in the form that several have."""
    own, reference = {"$schema", "$defs"}, f"#/$defs/{model.__name__}"
    definition = {name: part for name, part in schema.items() if name not in own}
    return {
        "$schema": schema["$schema"],
        "$defs": {**schema.get("$defs", {}), model.__name__: definition},
        "discriminator": {
            "mapping": dict.fromkeys(by_type(model), reference),
            "propertyName": "event_type",
        },
        "oneOf": [{"$ref": reference}],
    }


def _bound_keys(schema: Any) -> None:
    """Where an object may have any key, or a value be anything, keys are those that BSON can hold, at any depth."""
    if isinstance(schema, list):
        for each in schema:
            _bound_keys(each)
    elif isinstance(schema, dict):
        if schema.get("additionalProperties") is True:
            schema |= _ANY_KEYS
        for name, each in schema.get("properties", {}).items():
            if not each.keys() - {"title", "description"}:
                schema["properties"][name] = {**each, **_ANYTHING}
        for each in schema.values():
            _bound_keys(each)


def examples(families: Iterable[Family] = FAMILIES) -> dict[str, dict[str, Any]]:
    """One valid event of each type, by type, in the order of the contract."""
    return {
        event_type: {
            "event_id": _example_id(event_type, number if family is INTERACTIONS else None),
            "event_type": event_type,
            **_ENVELOPE,
            **family.examples[event_type],
        }
        for family in families
        for number, event_type in enumerate(family.events, start=1)
    }


def _example_id(event_type: str, number: int | None) -> str:
    return str(uuid5(_EXAMPLE_NAMESPACE, event_type)) if number is None else _COUNTED.format(number)


def write(folder: Path) -> list[Path]:
    """Writes a schema for each inlet and one file per example below `folder`; returns the files. Raises OSError.

    Running it again overwrites the same files with the same bytes.
    """
    contents = {folder / schema_file(inlet): json_schema(inlet) for inlet in Inlet if families_of(inlet)}
    contents |= {folder / EXAMPLES_FOLDER / f"{name}.json": event for name, event in examples().items()}
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return list(contents)
