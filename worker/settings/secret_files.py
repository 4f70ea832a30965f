"""Secret files: one setting a file, as Docker and Kubernetes mount them. What is there counts, or is refused."""

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from worker.errors import Misconfigured
from worker.settings.names import variable


class SecretFiles(PydanticBaseSettingsSource):
    """The settings that have a file in the folder; a folder that is not there holds none.

    Reading raises `Misconfigured`, with the file's name, for what is no readable text in UTF-8.
    """

    def __init__(self, settings: type[BaseSettings], folder: Path) -> None:
        super().__init__(settings)
        self._files = {file.name.upper(): file for file in files_in(folder)}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The file's text without the line break at its end, or None; then the field's name."""
        file = self._files.get(variable(field_name))
        return (None if file is None else _text(file)), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


def files_in(folder: Path) -> list[Path]:
    """What lies in the folder of secrets; nothing where there is none."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise Misconfigured(f"{variable('secrets_dir')}: {folder} is not a folder")
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise Misconfigured(
            f"{variable('secrets_dir')}: {folder} cannot be read: {error.strerror}"
        ) from error


def _text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise Misconfigured(f"{file.name.upper()}: the secret file {file} is not text in UTF-8") from None
    except OSError as error:
        raise Misconfigured(
            f"{file.name.upper()}: the secret file {file} cannot be read: {error.strerror}"
        ) from error
    if not text:
        raise Misconfigured(f"{file.name.upper()}: the secret file {file} is empty")
    return text
