"""What `--help` teaches beyond the options: examples, exit codes, every setting. Made from the code it describes."""

import inspect
import re
import textwrap

from worker.app.exits import ExitCode

# Click leaves a paragraph that begins with this character as it is.
_VERBATIM = "\b"
# With the indentation click adds, a line ends before the 80th character.
_WIDTH = 74


def examples(*lines: str) -> str:
    return _paragraph("Examples:", lines)


def exit_codes() -> str:
    """One line per code, from the comments of the enum."""
    comments = dict(re.findall(r"^ +(\w+) = \d+  # (.+)$", inspect.getsource(ExitCode), flags=re.MULTILINE))
    lines = [_wrapped(f"{code.value:>3}  ", comments[code.name]) for code in ExitCode]
    return _paragraph("Exit codes:", [line for some in lines for line in some])


MONGODB = ("mongodb_", "database_prefix", "allow_plaintext")
"""Settings of every command that opens the database, by their names or how these begin."""
KAFKA = (
    "kafka_bootstrap_servers",
    "kafka_security_",
    "kafka_ca_",
    "kafka_cert_",
    "kafka_key_",
    "kafka_sasl_",
)
"""Settings of every command that publishes."""


def settings(*names: str) -> str:
    """The settings of these names, with default and description; without any, all of them.

    A name that ends with `_` stands for all settings that begin with it.
    """
    from worker.settings import setting_lines, variable  # noqa: PLC0415 - the list of commands needs none of it

    wanted = [variable(name) for name in ([*names, "secrets_dir"] if names else [""])]
    prefixes = tuple(each for each in wanted if each.endswith("_"))
    lines = []
    for line in setting_lines():
        if line.variable in wanted or line.variable.startswith(prefixes):
            lines += [f"{line.variable}={line.default}", *_wrapped("    ", line.description)]
    return _paragraph("Settings (environment variables, or files in SEVENP_SECRETS_DIR):", lines)


def page(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs)


def _wrapped(head: str, sentence: str) -> list[str]:
    return textwrap.wrap(sentence, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


def _paragraph(title: str, lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join([_VERBATIM, title, *(f"  {line}" for line in lines)])
