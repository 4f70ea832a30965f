"""What every setting is at this moment, and where it comes from, also where it cannot work."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import SecretStr

from worker.errors import Misconfigured
from worker.settings.group import Group
from worker.settings.hosts import HIDDEN, without_password
from worker.settings.loading import is_foreign, load_settings, not_a_setting, shown
from worker.settings.model import Settings
from worker.settings.names import PREFIX, secrets_dir, variable
from worker.settings.secret_files import files_in, text_of

# A secret of which only a part is one: whoever looks into a failure wants to know which servers are meant.
_ADDRESS: Final = variable("mongodb_uri")
DEFAULT: Final = "default"
ENVIRONMENT: Final = "environment"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting: its value as a variable would hold it, and `source`: default, environment, or a secret file."""

    variable: str
    value: str
    source: str
    description: str


@dataclass(frozen=True, slots=True)
class Effective:
    """All settings; `unknown` are variables and files with our prefix that are none, in a sentence each.

    `mistake` says what is wrong with those that are. Values are then as they were given.
    """

    settings: tuple[EffectiveSetting, ...]
    unknown: tuple[str, ...]
    mistake: str | None


def effective_settings() -> Effective:
    """Read files and environment as `load_settings` does, and go on where that refuses."""
    mistakes: list[str] = []
    try:
        files = {file.name.upper(): file for file in files_in(secrets_dir(os.environ))}
    except Misconfigured as error:
        files, mistakes = {}, [str(error)]
    variables = {name.upper(): value for name, value in os.environ.items() if not is_foreign(name, value)}
    known = {variable(name) for _, group in Settings.groups() for name in group.settings()}
    others = sorted(name for name in {*files, *variables} - known if name.startswith(PREFIX))
    loaded = _loaded(mistakes) if not others else None
    found = {each.variable: each for each in _all(loaded, variables, files)}
    return Effective(
        tuple(found.values()),
        tuple(not_a_setting(name, known) for name in others),
        mistakes[0] if mistakes else None,
    )


def _loaded(mistakes: list[str]) -> Settings | None:
    try:
        return load_settings()
    except Misconfigured as error:
        mistakes.append(str(error))
        return None


def _all(
    loaded: Settings | None, variables: Mapping[str, str], files: Mapping[str, Path]
) -> Iterator[EffectiveSetting]:
    """Group by group; one that several share is told by the last, which has the same of it."""
    for name, group in Settings.groups():
        for attribute, field in group.model_fields.items():
            if field.description is None:
                continue
            called = group.variable(attribute)
            source = _source(called, variables, files)
            given = variables.get(called) or _text(files.get(called))
            if source == DEFAULT:
                value = shown(field.default)
            elif called == _ADDRESS:
                value = without_password(given.strip())
            elif _is_secret(field.annotation):
                value = HIDDEN
            else:
                value = _value(loaded, name, attribute, given)
            yield EffectiveSetting(called, value, source, field.description)


def _source(called: str, variables: Mapping[str, str], files: Mapping[str, Path]) -> str:
    if variables.get(called):
        return ENVIRONMENT
    return f"file {files[called]}" if called in files else DEFAULT


def _value(loaded: Settings | None, group: str, attribute: str, given: str) -> str:
    """As it was read; as it was given where nothing could be read."""
    if loaded is None:
        return given
    settings: Group = getattr(loaded, group)
    return shown(getattr(settings, attribute))


def _text(file: Path | None) -> str:
    """What a secret file holds; nothing of one that cannot be read, which is told as a mistake."""
    try:
        return "" if file is None else text_of(file)
    except Misconfigured:
        return ""


def _is_secret(annotation: Any) -> bool:
    """Whether a value of this type is a secret."""
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))
