"""How commands end, each as a process: by their own code, in words, and whatever becomes of their output."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from tests.conftest import RunningMongo
from tests.support.commands import sevenp_worker
from tests.support.matrices import one_of_each
from worker.app.exits import ExitCode
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source
from worker.ingest.dead_letters import store_dead_letters
from worker.ingest.record import DeadLetter
from worker.kafka.record import Record
from worker.retry.dead_letters import find_names
from worker.retry.selection import Selection
from worker.storage.database import Database

NOBODY = "mongodb://127.0.0.1:1/?replicaSet=rs0"
NO_BROKER = "127.0.0.1:1"
LIMIT_S = 120


@pytest.fixture
def environment(database: Database, mongodb: RunningMongo, kafka: str, topic: str) -> dict[str, str]:
    return {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SEVENP_TOPIC": topic,
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_HTTP_PORT": "0",
    }


def start(environment: dict[str, str], *arguments: str, **options: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "worker", *arguments],
        env={**os.environ, **environment},
        stdout=options.get("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    one_of_each(
        [["verify"], ["verify", "--json"], ["schema", "check"], ["queue", "list"], ["run", "--help"]]
    ),
)
def test_a_reader_that_leaves_changes_no_exit_code(environment: dict[str, str], command: list[str]) -> None:
    process = start(environment, *command)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, errors) == (ExitCode.OK, "")


def test_a_full_disk_is_an_error_without_a_trace(environment: dict[str, str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = start(environment, "verify", stdout=full)
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        os.close(full)
    assert process.returncode == ExitCode.USAGE
    assert errors == "sevenp-worker: error: no space left on device\n"


async def test_output_that_knows_ascii_only_shows_everything_else_as_escapes(
    environment: dict[str, str], database: Database
) -> None:
    name = await keep_dead_letter(database, "{ä☃".encode())
    ended = await sevenp_worker({**environment, "PYTHONIOENCODING": "ascii"}, "dead-letters", "show", name)
    assert ended.code == ExitCode.OK, ended.output
    assert r"{\xe4\u2603" in ended.output


async def test_nested_fields_are_shown_as_json_and_not_as_python(
    environment: dict[str, str], database: Database
) -> None:
    name = await keep_dead_letter(database, b"{}")
    ended = await sevenp_worker(environment, "dead-letters", "show", name)
    assert '"trace"' in ended.output
    assert "null" in ended.output
    assert "None" not in ended.output


async def keep_dead_letter(database: Database, value: bytes) -> str:
    record = Record(Source("t", 0, 1), datetime.now(UTC), b"k", value, (("trace", None),))
    await store_dead_letters(
        database, [DeadLetter(record, Rejected(RejectReason.NOT_JSON, "no JSON", None))], datetime.now(UTC)
    )
    [name] = await find_names(database, Selection())
    return name


READING = [
    ["verify"],
    ["queue", "list"],
    ["queue", "show", "x"],
    ["queue", "retry"],
    ["queue", "discard", "--all"],
    ["dead-letters", "list"],
    ["dead-letters", "show", "x"],
    ["dead-letters", "redrive"],
    ["dead-letters", "discard", "--all"],
]


def by_group(command: list[str]) -> str:
    return command[0]


@pytest.mark.parametrize("command", one_of_each(READING, by_group), ids=" ".join)
async def test_a_wrong_database_prefix_is_no_good_news(
    environment: dict[str, str], command: list[str]
) -> None:
    ended = await sevenp_worker({**environment, "SEVENP_DATABASE_PREFIX": "wrong"}, *command)
    assert ended.code == ExitCode.SCHEMA, ended.output
    assert "wrong_content holds no event store: is SEVENP_DATABASE_PREFIX right?" in ended.output
    assert "Everything agrees" not in ended.output
    assert "Nothing waits" not in ended.output


async def test_an_empty_event_store_is_not_said_to_agree(environment: dict[str, str]) -> None:
    ended = await sevenp_worker(environment, "verify")
    assert ended.code == ExitCode.OK
    assert "Nothing to check" in ended.output
    assert "Everything agrees" not in ended.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", one_of_each([*READING, ["schema", "apply"], ["schema", "check"]], by_group), ids=" ".join
)
async def test_every_command_explains_a_mongodb_that_does_not_answer(
    environment: dict[str, str], command: list[str]
) -> None:
    ended = await sevenp_worker({**environment, "SEVENP_MONGODB_URI": NOBODY}, *command)
    assert ended.code == ExitCode.UNREACHABLE
    assert ended.output == (
        "sevenp-worker: error: mongodb did not answer (127.0.0.1:1: nobody listens there): is it running, and is "
        "SEVENP_MONGODB_URI right?\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "redrive"])
async def test_two_absent_servers_are_both_named(environment: dict[str, str], command: str) -> None:
    absent = {
        "SEVENP_MONGODB_URI": NOBODY,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": NO_BROKER,
        "SEVENP_START_TIMEOUT_S": "1",
    }
    arguments = ["dead-letters", "redrive"] if command == "redrive" else ["run"]
    ended = await sevenp_worker({**environment, **absent}, *arguments)
    assert ended.code == ExitCode.UNREACHABLE
    assert "mongodb did not answer" in ended.error
    assert "kafka did not answer" in ended.error


async def test_a_missing_topic_is_said_at_once_with_what_to_do(environment: dict[str, str]) -> None:
    ended = await sevenp_worker({**environment, "SEVENP_TOPIC": "nobody-made-it"}, "run")
    assert ended.code == ExitCode.SCHEMA
    assert "topic nobody-made-it does not exist" in ended.error
    assert "--create --topic nobody-made-it" in ended.error
    assert "SEVENP_TOPIC" in ended.error


@pytest.mark.parametrize(
    "command",
    [["queue", "retry"], ["queue", "discard"], ["dead-letters", "redrive"], ["dead-letters", "discard"]],
)
async def test_an_id_that_is_not_there_ends_with_2_and_is_named(
    environment: dict[str, str], command: list[str]
) -> None:
    ended = await sevenp_worker(environment, *command, "nope")
    assert ended.code == ExitCode.USAGE
    assert "has the id nope" in ended.output


@pytest.mark.parametrize(
    "module", one_of_each(["structlog", "rich.console", "aiokafka", "pymongo", "worker.settings"])
)
def test_ctrl_c_while_modules_are_imported_leaves_no_trace(environment: dict[str, str], module: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "worker", "verify"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(module):
            process.send_signal(signal.SIGINT)
            break
    errors = process.communicate(timeout=LIMIT_S)[1]
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--check",)])
def test_ctrl_c_says_what_is_left(environment: dict[str, str], options: tuple[str, ...]) -> None:
    """While it waits for more from a pipe that stays open: once it took more than a pipe holds, it is at work."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "worker", "publish", "-", *options],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write((b"x" * 999 + b"\n") * 1_000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    code = process.wait(LIMIT_S)
    process.stdin.close()
    errors = process.stderr.read().decode()
    assert code == ExitCode.INTERRUPTED
    assert errors.startswith("sevenp-worker: interrupted: ")
    assert "publish the same again" in errors
    assert len(errors.splitlines()) == 1
