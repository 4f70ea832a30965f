"""What settings are called outside: the variable of each, and the folder of secret files."""

from collections.abc import Mapping
from pathlib import Path

PREFIX = "SEVENP_"
# Where Docker and Kubernetes mount secrets by habit.
SECRETS_DIR = Path("/run/secrets")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name}".upper()


def secrets_dir(environment: Mapping[str, str]) -> Path:
    """The folder of secret files; it need not exist. An empty variable means the default, as everywhere."""
    return Path(environment.get(variable("secrets_dir"), "").strip() or SECRETS_DIR)
