"""Samples are split by stage and by function, and none is lost."""

import json
import time
from pathlib import Path

import pytest

from bench.contestants.sampling import sampled
from bench.stages import REST, STAGES, Sample, by_function, by_stage, read_samples, stage_of

DECODE = (
    "bench/contestants/ours.py:<module>",
    "worker/ingest/pipeline.py:Pipeline._decode",
    "pydantic/main.py:validate",
)
LOOP = ("bench/contestants/ours.py:<module>", "asyncio/base_events.py:BaseEventLoop._run_once")


def test_a_stack_belongs_to_the_first_stage_that_claims_it() -> None:
    assert stage_of(DECODE) == "decode and validate"
    assert stage_of(LOOP) == REST


def test_stages_share_the_time_in_the_proportion_of_their_samples() -> None:
    assert by_stage([Sample(DECODE, 3), Sample(LOOP, 1)], 40.0) == [
        ("decode and validate", 30.0),
        (REST, 10.0),
    ]


def test_functions_are_ordered_by_their_own_samples() -> None:
    samples = [Sample(DECODE, 3), Sample(LOOP, 1)]
    assert by_function(samples, 1) == [("pydantic/main.py:validate", 0.75, 0.75)]
    assert ("asyncio/base_events.py:BaseEventLoop._run_once", 0.25, 0.25) in by_function(samples, 9)


def test_what_is_spent_on_importing_does_not_count() -> None:
    stack = ["worker/cli/__init__.py:<module>", "<frozen importlib._bootstrap>:_load"]
    assert read_samples([{"stack": stack, "count": 9}, {"stack": list(LOOP), "count": 1}]) == [
        Sample(list(LOOP), 1)
    ]


def test_every_stage_names_code_that_exists() -> None:
    root = Path(__file__).parents[3]
    for name, _ in STAGES:
        file, _, function = name.partition(":")
        if not file.startswith("worker/"):
            continue
        assert (root / file).exists(), name
        if not file.endswith(".py"):
            continue
        text = (root / file).read_text(encoding="utf-8")
        assert not function or f"def {function.rpartition('.')[2]}(" in text


def test_a_busy_function_is_found_by_sampling(tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    with sampled(path):
        burn(time.process_time() + 0.2)
    samples = read_samples(json.loads(path.read_text(encoding="utf-8")))
    (name, own, _), *_ = by_function(samples, 1)
    assert name.endswith("test_stages.py:burn")
    assert own == pytest.approx(1.0, abs=0.2)


def burn(until: float) -> None:
    while time.process_time() < until:
        pass
