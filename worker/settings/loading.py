"""Settings as they are given: read, every mistake told at once, and the list of them that help and docs show."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr, ValidationError

from worker.errors import Misconfigured
from worker.mistakes import words_for
from worker.settings.model import Settings
from worker.settings.names import PREFIX, secrets_dir, variable
from worker.settings.secret_files import files_in

# Kubernetes puts these into every pod for a service that happens to be called sevenp-something.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$")
# What the test suite reads, to find servers of its own.
_TEST_PREFIX = "SEVENP_TEST_"


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting as help and documentation show it; a secret's default is shown, its value never."""

    variable: str
    default: str
    description: str


def setting_lines() -> tuple[SettingLine, ...]:
    """Every setting in the order of their definition."""
    return tuple(
        SettingLine(variable(name), _shown(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    )


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and secret files; `overrides` (by field name) win, None means not given.

    Raises `Misconfigured` for an unknown variable, an unreadable value or a combination that cannot work.
    """
    try:
        _refuse_unknown(os.environ)
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_url=False, include_input=False)]
        raise Misconfigured("; ".join(problems)) from None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """A misspelt setting would silently be its default: name it, and the one that was probably meant."""
    known = {variable(name) for name in Settings.model_fields}
    files = [path.name.upper() for path in files_in(secrets_dir(environment))]
    variables = [name.upper() for name, value in environment.items() if not _is_foreign(name, value)]
    given = {name for name in (*variables, *files) if name.startswith(PREFIX)}
    unknown = sorted(given - known)
    if unknown:
        raise Misconfigured("; ".join(_unknown(name, known) for name in unknown))


def _is_foreign(name: str, value: str) -> bool:
    """True for what shares our prefix but is not meant for us."""
    service_link = bool(_SERVICE_LINK.search(name)) or value.startswith(("tcp://", "udp://"))
    return service_link or name.upper().startswith(_TEST_PREFIX)


def _unknown(name: str, known: Iterable[str]) -> str:
    closest = get_close_matches(name, known, n=1, cutoff=0)
    return f"{name} is not a setting: did you mean {closest[0]}?"


def _problem(detail: Any) -> str:
    words = words_for(detail)
    return f"{variable(str(detail['loc'][0]))}: {words}" if detail["loc"] else words


def _shown(default: Any) -> str:
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, tuple | frozenset):
        return ",".join(default)
    if isinstance(default, Mapping):
        return ",".join(f"{name}={value}" for name, value in default.items())
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)
