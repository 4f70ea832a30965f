"""The contract for other languages: one JSON Schema of every event type, and one valid example of each."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from worker.contract.codec import DEFAULT_LIMITS
from worker.contract.models import EVENT_TYPES, AnyEvent
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION

SCHEMA_FILE: Final = "interaction-events.schema.json"
EXAMPLES_FOLDER: Final = "examples"

_ENVELOPE: Final[Mapping[str, Any]] = MappingProxyType(
    {
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
)
_LESSON: Final[Mapping[str, Any]] = MappingProxyType({"lesson_id": "65a4f0c2e13b7a0001bbbbbb"})
_PLAYER: Final[Mapping[str, Any]] = MappingProxyType(
    {**_LESSON, "value": 182.5, "details": {"time_spent": 60, "progress": 0.35}}
)
_OWN_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
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
        "course_unenrolled": {},
        "lesson_started": _LESSON,
        "lesson_view": _LESSON,
        "view": _PLAYER,
        "pause": _PLAYER,
        "seek": _PLAYER,
        "complete": _LESSON,
        "progress_updated": {"details": {"old_progress": 65.5, "new_progress": 68.2, "time_spent": 180}},
        "quiz_submitted": {
            **_LESSON,
            "details": {"score": 80, "total_questions": 5, "correct_answers": 4, "time_taken": 180},
        },
        "assignment_graded": {**_LESSON, "value": 92},
        "discussion_posted": {},
        "question_asked": {},
        "answer_given": {},
        "peer_interaction": {},
        "study_group_joined": {},
        "course_rated": {"value": 5},
        "certificate_issued": {
            "details": {
                "certificate_url": "https://certs.example.com/cert123.pdf",
                "verification_code": "CERT-2024-ABC123",
                "type": "completion",
                "valid_until": "2034-01-15T00:00:00Z",
            }
        },
        "lesson_note_saved": {**_LESSON, "details": {"text": "Great explanation of async/await."}},
    }
)


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
    """One document (draft 2020-12) that describes a record of every event type.

    It cannot say everything: the limits of a whole record, the distance of `occurred_at` to the record's
    time and the search for card numbers are the codec's alone, and stand in the description.
    """
    schema: dict[str, Any] = TypeAdapter(AnyEvent).json_schema(schema_generator=_Generator)
    schema["title"] = "Learner event"
    schema["description"] = (
        f"One JSON object per Kafka record, at most {DEFAULT_LIMITS.max_record_bytes} bytes of UTF-8, no "
        "duplicate keys, lone surrogates, or integers beyond 64 bits. `occurred_at` lies in 1970-2100 and at "
        f"most {DEFAULT_LIMITS.max_future.total_seconds() / 3600:g} hours after the record's timestamp. "
        f"`details`: at most {DEFAULT_LIMITS.max_details_bytes} bytes, {DEFAULT_LIMITS.max_details_depth} "
        f"levels and {DEFAULT_LIMITS.max_details_keys} keys, none with NUL, a dot or a leading $. A payment "
        "holds nothing that looks like a card number."
    )
    return schema


def examples() -> dict[str, dict[str, Any]]:
    """One valid event of each type, by type, in the order of the contract."""
    return {
        event_type: {
            "event_id": f"0b6c2f6e-6c1d-4c55-9a53-{number:012x}",
            "event_type": event_type,
            **_ENVELOPE,
            **_OWN_FIELDS[event_type],
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
