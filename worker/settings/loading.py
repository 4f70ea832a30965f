"""Settings as they are given: read, every mistake told at once, and the list of them that help and docs show."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr, ValidationError

from worker.errors import Misconfigured
from worker.mistakes import words_for
from worker.settings.model import Settings
from worker.settings.names import PREFIX, secrets_dir, variable
from worker.settings.process import LogFormat
from worker.settings.secret_files import files_in, text_of

# Kubernetes puts these into every pod for a service that happens to be called sevenp-something.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$")
# What the test suite reads, to find servers of its own.
_TEST_PREFIX = "SEVENP_TEST_"
_LOG_FORMATS: Mapping[str, LogFormat] = {"console": "console", "json": "json"}


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting as help and documentation show it; a secret's default is shown, its value never."""

    variable: str
    default: str
    description: str


def setting_lines() -> tuple[SettingLine, ...]:
    """Every setting, group by group; one that several share stands in the first."""
    return tuple(
        dict.fromkeys(
            SettingLine(variable(name), shown(field.default), field.description or "")
            for _, group in Settings.groups()
            for name, field in group.settings().items()
        )
    )


def load_settings(**overrides: Any) -> Settings:
    """Settings from secret files, over them the environment, over that `overrides` by name; None means not given.

    Raises `Misconfigured` for an unknown variable, an unreadable value or a combination that cannot work.
    """
    files = {file.name.upper(): file for file in files_in(secrets_dir(os.environ))}
    variables = {name.upper(): value for name, value in os.environ.items() if not is_foreign(name, value)}
    known = {variable(name): name for _, group in Settings.groups() for name in group.settings()}
    _refuse_unknown({*files, *variables, *map(variable, overrides)}, known)
    given = {
        **{known[name]: text_of(file) for name, file in files.items() if name in known},
        **{known[name]: value for name, value in variables.items() if name in known and value},
        **{name: value for name, value in overrides.items() if value is not None},
    }
    groups = {
        name: {setting: given[setting] for setting in group.settings() if setting in given}
        for name, group in Settings.groups()
    }
    try:
        return Settings.model_validate(groups)
    except ValidationError as error:
        raise Misconfigured("; ".join(dict.fromkeys(_problems(error)))) from None


def log_format() -> LogFormat:
    """How a command logs before it has read its settings: their word for it, where it is one."""
    given = os.environ.get(variable("log_format"), "").strip().casefold()
    return _LOG_FORMATS.get(given, "auto")


def _refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """A misspelt setting would silently be its default: name it, and the one that was probably meant."""
    unknown = sorted(name for name in set(names).difference(known) if name.startswith(PREFIX))
    if unknown:
        raise Misconfigured("; ".join(not_a_setting(name, known) for name in unknown))


def not_a_setting(name: str, known: Iterable[str]) -> str:
    """The sentence about a variable with our prefix that is none of ours."""
    return f"{name} is not a setting: did you mean {get_close_matches(name, known, n=1, cutoff=0)[0]}?"


def is_foreign(name: str, value: str) -> bool:
    """True for what shares our prefix but is not meant for us: its name, and what it is set to."""
    service_link = bool(_SERVICE_LINK.search(name)) or value.startswith(("tcp://", "udp://"))
    return service_link or name.upper().startswith(_TEST_PREFIX)


def _problems(error: ValidationError) -> Iterator[str]:
    """A sentence for each mistake, with its variable unless it concerns several."""
    for detail in error.errors(include_url=False, include_input=False):
        words, (_, *setting) = words_for(detail), (detail["loc"] or ("",))
        yield f"{variable(str(setting[0]))}: {words}" if setting else words


def shown(default: Any) -> str:
    """A value as a variable would hold it; a secret as it is."""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, frozenset):
        return ",".join(sorted(default))
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, Mapping):
        return ",".join(f"{name}={value}" for name, value in default.items())
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)
