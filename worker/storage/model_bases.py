"""What the models of stored documents are made of: closed and open shapes, and the types of their fields."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Slot = Annotated[int, Field(ge=0, le=255)]
Number = int | float


def absent() -> Any:
    """Default of a field that a document may leave out but never holds as null."""
    return None


class Closed(BaseModel):
    """Written by the worker alone: exactly these fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Named(Closed):
    """Written by the worker alone, under a text as `_id`."""

    id: Text = Field(alias="_id")


class Open(BaseModel):
    """Shared with the platform: these fields have these types, others may stand beside them."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, arbitrary_types_allowed=True)
