"""The translation from model fields to `$jsonSchema`, rule by rule."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar
from uuid import UUID

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from projections.progress import ProgressDocument
from worker.storage.models import MODELS
from worker.storage.validators import object_schema, validator

T = TypeVar("T")


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def _schema_of(annotation: Any) -> Any:
    model = type("Model", (_Shape,), {"__annotations__": {"value": annotation}})
    return object_schema(model)["properties"]["value"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"bsonType": "string"}),
        (bool, {"bsonType": "bool"}),
        (int, {"bsonType": ["int", "long"]}),
        (float, {"bsonType": "double"}),
        (int | float, {"bsonType": ["int", "long", "double"]}),
        (datetime, {"bsonType": "date"}),
        (ObjectId, {"bsonType": "objectId"}),
        (UUID, {"bsonType": "binData"}),
        (bytes, {"bsonType": "binData"}),
        (Decimal128, {"bsonType": "decimal"}),
        (str | None, {"bsonType": ["string", "null"]}),
        (Any, {}),
        (dict[str, Any], {"bsonType": "object"}),
        (dict[str, Any] | None, {"bsonType": ["object", "null"]}),
        (dict[str, float], {"bsonType": "object", "additionalProperties": {"bsonType": "double"}}),
        (list[str], {"bsonType": "array", "items": {"bsonType": "string"}}),
        (Literal["a", "b"], {"bsonType": "string", "enum": ["a", "b"]}),
        (Annotated[int, Field(ge=1)], {"bsonType": ["int", "long"], "minimum": 1}),
        (Annotated[float, Field(ge=0, le=100)], {"bsonType": "double", "minimum": 0, "maximum": 100}),
        (Annotated[str, Field(min_length=3)], {"bsonType": "string", "minLength": 3}),
        (Annotated[str, Field(max_length=9)], {"bsonType": "string", "maxLength": 9}),
        (Annotated[str, Field(pattern="^a$")], {"bsonType": "string", "pattern": "^a$"}),
        (
            Annotated[int, Field(ge=1)] | None,
            {"anyOf": [{"bsonType": ["int", "long"], "minimum": 1}, {"bsonType": "null"}]},
        ),
    ],
)
def test_each_type_has_its_rule(annotation: Any, expected: dict[str, Any]) -> None:
    assert _schema_of(annotation) == expected


class _Inner(_Shape):
    at: datetime


class _Outer(BaseModel):
    id: str = Field(alias="_id")
    inner: _Inner | None
    note: str | None = None


def test_stored_names_required_fields_and_closed_sub_documents_are_kept() -> None:
    inner = {
        "bsonType": "object",
        "properties": {"at": {"bsonType": "date"}},
        "required": ["at"],
        "additionalProperties": False,
    }
    assert validator([_Outer]) == {
        "$jsonSchema": {
            "bsonType": "object",
            "properties": {
                "_id": {"bsonType": "string"},
                "inner": {"anyOf": [inner, {"bsonType": "null"}]},
                "note": {"bsonType": ["string", "null"]},
            },
            "required": ["_id", "inner"],
        }
    }


class _Kept(TypedDict, Generic[T]):
    at: datetime
    v: NotRequired[T]


def test_a_typed_dict_is_a_closed_object_and_a_generic_one_has_its_argument() -> None:
    assert _schema_of(_Kept[int] | None) == {
        "anyOf": [
            {
                "bsonType": "object",
                "properties": {"at": {"bsonType": "date"}, "v": {"bsonType": ["int", "long"]}},
                "required": ["at"],
                "additionalProperties": False,
            },
            {"bsonType": "null"},
        ]
    }


def test_the_validator_of_records_is_byte_for_byte_what_databases_have() -> None:
    frozen = Path(__file__).with_name("user_progress_validator.json").read_text(encoding="utf-8")
    assert json.dumps(validator([ProgressDocument]), indent=1) + "\n" == frozen


def test_a_collection_of_several_shapes_takes_any_one_of_them() -> None:
    schema = validator([_Outer, _Inner])["$jsonSchema"]
    assert schema == {"bsonType": "object", "anyOf": [object_schema(_Outer), object_schema(_Inner)]}


@pytest.mark.parametrize("annotation", [complex, set[str], Annotated[int, Field(multiple_of=2)]])
def test_what_has_no_rule_is_an_error_and_not_an_unchecked_field(annotation: Any) -> None:
    with pytest.raises(TypeError):
        _schema_of(annotation)


def test_the_spec_s_own_validators_are_kept() -> None:
    course = validator(MODELS["courses"])["$jsonSchema"]
    assert set(course["required"]) == {"_id", "title", "instructor_id", "status", "created_at"}
    assert course["properties"]["title"] == {"bsonType": "string", "minLength": 3, "maxLength": 200}
    assert course["properties"]["slug"] == {"bsonType": "string", "pattern": "^[a-z0-9-]+$"}
    assert course["properties"]["status"]["enum"] == ["draft", "review", "published", "archived"]
    setting = validator(MODELS["system_settings"])["$jsonSchema"]
    assert setting["required"] == ["key", "value", "environment"]
    assert setting["properties"]["environment"]["enum"] == ["development", "staging", "production"]
