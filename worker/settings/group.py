"""What every group of settings is: a frozen model whose described fields are settings, with checks of its own."""

import ast
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from worker.settings.names import variable


class Group(BaseModel):
    """Settings that belong together.

    A field with a docstring below it is a setting: an operator chooses it by its variable, and reads the docstring as
    its description. A field without one is a number of the code, which stands beside the settings it belongs to; only
    tests choose another.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, validate_by_name=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Describe the settings. Pydantic would do it, by `use_attribute_docstrings`, in a fifth of a second."""
        for name, text in _docstrings(cls).items():
            cls.model_fields[name].description = text

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """The field of each setting."""
        return {
            _setting(name, field): field
            for name, field in cls.model_fields.items()
            if field.description is not None
        }

    @property
    def chosen(self) -> dict[str, Any]:
        """What somebody set, by setting."""
        fields = type(self).model_fields
        return {_setting(name, fields[name]): getattr(self, name) for name in self.model_fields_set}

    @classmethod
    def variable(cls, name: str) -> str:
        """The variable of a field."""
        return variable(_setting(name, cls.model_fields[name]))

    def given(self, *names: str) -> list[str]:
        """The variables of those fields that somebody set, and not to nothing."""
        return [
            self.variable(name) for name in names if name in self.model_fields_set and getattr(self, name)
        ]

    def halves(self, *pairs: tuple[str, str]) -> Iterator[str]:
        """A sentence for each field that is set without the one it needs.

        The other was meant: the worker would run less protected than its operator believes.
        """
        for name, other in pairs:
            if self.given(name) and not self.given(other):
                yield f"{self.variable(name)} needs {self.variable(other)}"

    def mistakes(self) -> Iterator[str]:
        """A sentence for each contradiction within the group."""
        yield from ()

    @field_validator("*", mode="before")
    @classmethod
    def _clean(cls, value: Any, info: ValidationInfo) -> Any:
        """Without what editors and shells leave around a value; words of a closed set in any case."""
        if not isinstance(value, str):
            return value
        text = value.removeprefix("\ufeff").strip()
        if any(unicodedata.category(character) == "Cc" for character in text):
            raise ValueError("must be one line without control characters")
        return _in_its_case(text, cls.model_fields[str(info.field_name)].annotation)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self.mistakes())
        return self


def _docstrings(group: type[Group]) -> dict[str, str]:
    """The docstring below each field that the class itself has, from its source."""
    found: dict[str, str] = {}
    source = Path(str(sys.modules[group.__module__].__file__)).read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == group.__name__:
            for pair in pairwise(node.body):
                match pair:
                    case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                        found[name] = text
    return found


def _setting(name: str, field: FieldInfo) -> str:
    return str(field.validation_alias or name)


def refuse(mistakes: Iterable[str]) -> None:
    """Raise ValueError with all the sentences, if there is one."""
    if told := "; ".join(mistakes):
        raise ValueError(told)


def listed(value: Any) -> Any:
    """`a, b` as people write it in a variable."""
    return [part for each in value.split(",") if (part := each.strip())] if isinstance(value, str) else value


def _in_its_case(text: str, annotation: Any) -> str:
    """The word of a Literal or an enumeration that the text is in another case; else the text."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        words = [str(member.value) for member in annotation]
    else:
        parts = (annotation, *get_args(annotation))  # of a union the Literal is a part
        words = [word for part in parts for word in get_args(part) if isinstance(word, str)]
    return next((word for word in words if word.casefold() == text.casefold()), text)
