"""The oracle's command line: exit 0 when every invariant holds, 1 when one is violated, 2 when it cannot check."""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError

import tests.oracle
from tests.oracle.case import Case, Evidence
from tests.oracle.check import ALL, check_case, not_checked
from tests.oracle.finding import Finding
from tests.oracle.kafka import read_log
from tests.oracle.ledger import read_ledger
from tests.oracle.outbox import parse_deliveries
from tests.oracle.stored import read_stored

HOLDS, VIOLATED, CANNOT_CHECK = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Read everything, check_case, print; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.topic is None) != (options.kafka is None) or (options.group is None) != (
        options.kafka is None
    ):
        parser.error("--kafka, --topic and --group go together")
    try:
        case = _case(options)
        findings = check_case(case, options.invariants)
    except (OSError, ValueError, LookupError, KafkaError, PyMongoError) as error:
        sys.stderr.write(f"cannot check: {type(error).__name__}: {error}\n")
        return CANNOT_CHECK
    missing = {number: why for number, why in not_checked(case).items() if number in options.invariants}
    report = _json(findings, missing) if options.json else _text(findings, missing, options.invariants)
    sys.stdout.write(report + "\n")
    return VIOLATED if findings or (options.complete and missing) else HOLDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.oracle",
        description=tests.oracle.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--mongodb-uri", required=True, help="a replica set")
    option("--prefix", required=True, help="of the databases")
    option("--ledger", required=True, type=Path, help="the producer's, as write_ledger writes it")
    option("--kafka", metavar="SERVERS", help="bootstrap servers, to look at every record of the log")
    option("--topic")
    option("--group", help="the worker's consumer group")
    option("--receiver-log", type=Path, help="a line a notification: JSON with key, accepted, body")
    option("--repeats", type=int, default=0, help="crashes between sending and marking (default 0)")
    option("--metrics", nargs="+", type=Path, help="texts of /metrics, one a worker at rest")
    option("--logs", nargs="+", type=Path, help="of the worker")
    option("--canary", action="append", default=[], help="a secret of a payload; may be repeated")
    option("--password", action="append", default=[], help="a secret that may stand nowhere; may be repeated")
    option("--in-order", action="store_true", help="each stream went to one partition in the ledger's order")
    option("--invariants", type=_numbers, default=ALL, metavar="N,N-M", help="only these (default all)")
    option("--complete", action="store_true", help="what could not be checked counts as violated")
    option("--json", action="store_true", help="print JSON")
    return parser


def _numbers(text: str) -> frozenset[int]:
    """`1-5,8` as numbers. Raises ValueError, which argparse explains."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    if not numbers or not numbers <= ALL:
        raise ValueError(text)
    return frozenset(numbers)


def _case(options: argparse.Namespace) -> Case:
    log = (
        asyncio.run(read_log(options.kafka, options.topic, options.group))
        if options.kafka is not None
        else None
    )
    receiver: Path | None = options.receiver_log
    evidence = Evidence(
        log=log,
        received=None if receiver is None else parse_deliveries(receiver.read_text(encoding="utf-8")),
        repeats=options.repeats,
        metrics=_texts(options.metrics),
        logs=_texts(options.logs),
        canaries=options.canary,
        passwords=options.password,
    )
    stored = read_stored(options.mongodb_uri, options.prefix)
    return Case(stored, read_ledger(options.ledger), evidence, options.in_order)


def _texts(paths: Sequence[Path] | None) -> Mapping[str, str] | None:
    """By name; bytes that are no UTF-8 become escapes, for a log may hold anything."""
    if paths is None:
        return None
    return {str(path): path.read_text(encoding="utf-8", errors="backslashreplace") for path in paths}


def _json(findings: Sequence[Finding], missing: Mapping[int, str]) -> str:
    report: dict[str, Any] = {
        "violations": [{"invariant": each.invariant, "sentence": each.sentence} for each in findings],
        "violated": sorted({each.invariant for each in findings}),
        "not_checked": {str(number): why for number, why in missing.items()},
    }
    return json.dumps(report, indent=2)


def _text(findings: Sequence[Finding], missing: Mapping[int, str], invariants: frozenset[int]) -> str:
    violated = {each.invariant for each in findings}
    holding = ", ".join(str(number) for number in sorted(invariants - violated))
    lines = [str(finding) for finding in findings]
    lines += [f"not checked of {number}: {why}" for number, why in missing.items()]
    return "\n".join([*lines, f"holding: {holding or 'none'}"])


if __name__ == "__main__":
    sys.exit(main())
