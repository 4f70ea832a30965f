"""The contract for other languages: one JSON Schema of every event type, and one valid example of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from worker.contract.codec import DEFAULT_LIMITS
from worker.contract.events.interactions import EVENT_TYPES, AnyEvent
from worker.contract.fields import NOTE_BYTES
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION

SCHEMA_FILE: Final = "interaction-events.schema.json"
EXAMPLES_FOLDER: Final = "examples"

_ENVELOPE: Final[Mapping[str, Any]] = {
    "occurred_at": "2024-01-15T09:30:00.000Z",
    "user_id": "65a4f0c2e13b7a0001c0ffee",
    "course_id": "65a4f0c2e13b7a0001aaaaaa",
    "producer": "learning-platform",
    "session_id": "sess_789",
    "correlation_id": "corr_abc123",
    "device_type": "desktop",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "ip_address": "192.0.2.10",
    "schema_version": CURRENT_SCHEMA_VERSION,
}
_LESSON: Final[Mapping[str, Any]] = {"lesson_id": "65a4f0c2e13b7a0001bbbbbb"}
_PLAYER: Final[Mapping[str, Any]] = {
    **_LESSON,
    "value": 182.5,
    "details": {"time_spent": 60, "progress": 0.35},
}
# Of the types that need more than the envelope.
_OWN_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "course_enrolled": {
        "details": {
            "total_lessons": 65,
            "payment": {
                "transaction_id": "txn_5f1c",
                "amount": "199.99",
                "currency": "USD",
                "method": "card",
            },
        }
    },
    **dict.fromkeys(("lesson_started", "lesson_view", "complete"), _LESSON),
    **dict.fromkeys(("view", "pause", "seek"), _PLAYER),
    "progress_updated": {"details": {"old_progress": 65.5, "new_progress": 68.2, "time_spent": 180}},
    "quiz_submitted": {
        **_LESSON,
        "details": {"score": 80, "total_questions": 5, "correct_answers": 4, "time_taken": 180},
    },
    "assignment_graded": {**_LESSON, "value": 92},
    "course_rated": {"value": 5},
    "certificate_issued": {
        "details": {
            "certificate_url": "https://certs.example.com/cert123.pdf",
            "verification_code": "CERT-2024-ABC123",
            "type": "completion",
            "valid_until": "2034-01-15T00:00:00.000Z",
        }
    },
    "lesson_note_saved": {**_LESSON, "details": {"text": "Great explanation of async/await."}},
}

UNSAID: Final = (
    f"a record of more than {DEFAULT_LIMITS.max_record_bytes} bytes",
    f"`details` of more than {DEFAULT_LIMITS.max_details_bytes} bytes as compact JSON",
    f"`details` of more than {DEFAULT_LIMITS.max_details_keys} keys in all",
    f"`details` of more than {DEFAULT_LIMITS.max_details_depth} levels",
    f"a note of more than {NOTE_BYTES} bytes",
    "a whole number beyond 64 bits",
    "the same key twice in an object, half of a surrogate pair, and what is no JSON",
    f"`occurred_at` more than {DEFAULT_LIMITS.max_future.total_seconds() / 3600:g} hours after the record's own time",
    "a payment that holds what looks like a card number",
    "an `event_id` that was used for another event",
)
"""What a JSON Schema cannot say."""

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


def json_schema() -> dict[str, Any]:
    """One document (draft 2020-12) that accepts and refuses what the worker does, but for what `UNSAID` lists.

    Patterns say what a `format` would: most validators do not check formats. Only an `ip_address` needs them checked.
    """
    schema: dict[str, Any] = TypeAdapter(AnyEvent).json_schema(schema_generator=_Generator)
    schema["title"] = "Learner event"
    schema["description"] = (
        "One JSON object per Kafka record, in UTF-8. The worker accepts and refuses what this schema does (formats "
        f"checked), and refuses besides: {'; '.join(UNSAID)}."
    )
    for definition in schema["$defs"].values():
        if definition["additionalProperties"] is True:
            definition |= _ANY_KEYS
    schema["$defs"]["Anything"] = {"description": "Any JSON value.", "items": _ANYTHING, **_ANY_KEYS}
    return schema


def examples() -> dict[str, dict[str, Any]]:
    """One valid event of each type, by type, in the order of the contract."""
    return {
        event_type: {
            "event_id": f"0b6c2f6e-6c1d-4c55-9a53-{number:012x}",
            "event_type": event_type,
            **_ENVELOPE,
            **_OWN_FIELDS.get(event_type, {}),
        }
        for number, event_type in enumerate(EVENT_TYPES, start=1)
    }


def write(folder: Path) -> list[Path]:
    """Writes the schema and one file per example below `folder`; returns the files. Raises OSError.

    Running it again overwrites the same files with the same bytes.
    """
    contents = {folder / SCHEMA_FILE: json_schema()}
    contents |= {folder / EXAMPLES_FOLDER / f"{name}.json": event for name, event in examples().items()}
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return list(contents)
