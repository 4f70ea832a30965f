"""The doctor as a whole: a sound set-up gives no finding, and it never changes, waits long or gives up."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence

import pytest

from tests.conftest import StackKind
from tests.support.commands import sevenp_worker
from tests.support.doctor import Doctor
from worker.app.exits import ExitCode
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import start_mongod
from worker.operate.doctor import examination
from worker.operate.doctor.catalogue import FINDINGS
from worker.operate.doctor.finding import NOWHERE, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable

# What is true of the servers of tests, which are one of each; the rest they are not asked to tell.
ADVISED = {"few_members", "one_broker", "topic_differs"}
NOT_TOLD_BY_THE_EMBEDDED_BROKER = {"session_timeout_refused", "offsets_expire"}


async def test_a_sound_set_up_gives_no_finding(doctor: Doctor, stack: StackKind) -> None:
    await doctor.database.content.command({"profile": 1, "slowms": 100})
    try:
        report = await doctor.report(FINDINGS)
    finally:
        await doctor.database.content.command({"profile": 0})
    assert {each.finding.name for each in report.found} == ADVISED, report.found
    silent = NOT_TOLD_BY_THE_EMBEDDED_BROKER if stack == "embedded" else set()
    assert {each.finding.name for each in report.not_looked} == silent, report.not_looked
    assert report.ok
    assert report.looked == len(FINDINGS) - len(silent)


async def test_it_writes_nothing(doctor: Doctor) -> None:
    async def state() -> object:
        homes = (doctor.database.content, doctor.database.analytics, doctor.database.config)
        hashes = [(await home.command({"dbHash": 1}))["collections"] for home in homes]
        names = [sorted(await home.list_collection_names()) for home in homes]
        return hashes, names

    before = await state()
    await doctor.report(FINDINGS)
    assert await state() == before


async def test_what_takes_too_long_is_given_up_and_the_rest_is_told(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_setup: Setup) -> Sequence[Seen]:
        await asyncio.Event().wait()
        return []

    async def at_once(_setup: Setup) -> Sequence[Seen]:
        return [Seen("this", "is seen")]

    monkeypatch.setattr(examination, "_LOOK_S", 0.2)
    slow = Finding("slow", Severity.ERROR, NOWHERE, "It never ends.", "Nothing does.", never)
    quick = Finding("quick", Severity.WARNING, NOWHERE, "It is quick.", "Slow down.", at_once)
    report = await doctor.report([slow, quick])
    assert [(each.finding.name, each.fix) for each in report.found] == [("quick", "Slow down.")]
    assert [(each.finding.name, each.reason) for each in report.not_looked] == [("slow", "no answer in time")]
    assert not report.ok
    assert report.words == "1 finding looked for: 1 warning; 1 finding could not be looked for."


@pytest.mark.slow
async def test_servers_that_hang_cost_seconds_and_not_for_ever(
    doctor: Doctor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both are frozen: their ports are open, and nobody answers."""
    folder = tmp_path_factory.mktemp("frozen")
    mongod, broker = await start_mongod(folder), await start_broker(folder)
    pids = (mongod.process.pid, broker.process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    environment = {
        **doctor.given,
        variable("mongodb_uri"): mongod.uri,
        variable("kafka_bootstrap_servers"): broker.bootstrap_servers,
    }
    began = time.monotonic()
    try:
        ended = await sevenp_worker(environment, "doctor", "--json")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        mongod.stop()
        broker.stop()
    assert time.monotonic() - began < 60
    assert ended.code == ExitCode.UNREACHABLE, ended.output
    report, _ = json.JSONDecoder().raw_decode(ended.output[ended.output.index("{\n") :])
    assert {each["finding"] for each in report["findings"]} == {"mongodb_away", "kafka_away"}
    (words,) = [each["words"] for each in report["findings"] if each["finding"] == "mongodb_away"]
    # By whether the driver gave up a connection before it gave up the search.
    assert words.endswith(("timed out", "no server answers, and none refuses: frozen, or out of reach"))


@pytest.mark.slow
async def test_the_command_tells_people_and_scripts_and_ends_with_its_code(doctor: Doctor) -> None:
    names = ("index_missing", "few_members")
    chosen = [part for name in names for part in ("--only", name)]
    well = await sevenp_worker(doctor.given, "doctor", *chosen)
    assert well.code == ExitCode.OK, well.output
    assert "few_members" in well.output
    assert "1 piece of advice" in well.output
    await doctor.database.course_events.drop_index("idx_course_events_stream_version_unique")
    ill = await sevenp_worker(doctor.given, "doctor", "--json", *chosen)
    assert ill.code == ExitCode.DIFFERENCE, ill.output
    report = json.loads(ill.output)
    assert [each["finding"] for each in report["findings"]] == ["index_missing", "few_members"]
    assert "schema apply" in report["findings"][0]["fix"]
    assert report["ok"] is False


@pytest.mark.slow
async def test_one_server_away_leaves_the_other_to_be_looked_at(doctor: Doctor) -> None:
    given = {**doctor.given, variable("kafka_bootstrap_servers"): "127.0.0.1:1"}
    chosen = ["--only", "topic_missing", "--only", "few_members", "--only", "kafka_away"]
    ended = await sevenp_worker(given, "doctor", *chosen)
    assert ended.code == ExitCode.UNREACHABLE, ended.output
    for said in ("kafka_away", "no broker answers at 127.0.0.1:1", "few_members", "kafka cannot be asked"):
        assert said in ended.output
    # Of everything that Kafka alone can tell there is one line.
    ended = await sevenp_worker(given, "doctor")
    assert ended.output.count("kafka cannot be asked") == 1
    assert "findings" in next(line for line in ended.output.splitlines() if "kafka cannot be asked" in line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["doctor", "--only", "shrot_oplog"], "did you mean short_oplog?"),
        (["doctor", "--only", "nosuch"], "'nosuch' is no finding: there is mongodb_away, kafka_away,"),
        (["doctor", "--outage", "soon"], "write 90m, 12h or 7d"),
        (["capacity", "--disk", "much"], "write 500G or 2T"),
    ],
)
async def test_what_makes_no_sense_is_refused(doctor: Doctor, arguments: list[str], said: str) -> None:
    ended = await sevenp_worker(doctor.given, *arguments)
    assert ended.code == ExitCode.USAGE, ended.output
    assert said in " ".join(ended.output.replace("│", " ").split())
