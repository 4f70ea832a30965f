"""Secret files: one setting a file, as Docker and Kubernetes mount them. What is there counts, or is refused."""

from pathlib import Path

from worker.errors import Misconfigured
from worker.settings.names import variable


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


def text_of(file: Path) -> str:
    """The file's text without the line break at its end; raises `Misconfigured` for what is no readable UTF-8."""
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
