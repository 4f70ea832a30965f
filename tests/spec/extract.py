"""Takes the sample documents out of the platform's specification: `samples.json` beside this file was made by it.

    python -m tests.spec.extract path/to/mongodb-document-structure.md > tests/spec/samples.json

The specification is Markdown with JavaScript: every `db.<collection>.insertOne({…})` is a sample document. An id is
written as `{"$oid": …}` and a date as `{"$date": …}`, null where the specification leaves the value open. What is no
literal (a call, a name) is `{"$code": …}`. Statements within functions are no samples, but for those of collections
of which the specification shows no document otherwise.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_INSERT: Final = re.compile(
    r"^(?P<within>[ \t]+(?:await )?)?db\.(?P<collection>\w+)\.insertOne\(", re.MULTILINE
)
_SHOWN_WITHIN: Final = frozenset({"billing_transactions"})
_ID: Final = re.compile(r"[0-9a-f]{24}")
_TOKEN: Final = re.compile(
    r"""
      (?P<skip>\s+|//[^\n]*)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<call>(?:new\s+)?[A-Za-z_][\w.]*\((?P<arguments>[^()]*)\))
    | (?P<word>[A-Za-z_$][\w.]*)
    | (?P<mark>[{}\[\]:,])
    """,
    re.VERBOSE,
)
_WORDS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}

Token = tuple[str, str]


def samples(specification: str) -> dict[str, list[Any]]:
    """The sample documents by collection, in their order."""
    found: dict[str, list[Any]] = {}
    for match in _INSERT.finditer(specification):
        collection = match["collection"]
        if match["within"] and collection not in _SHOWN_WITHIN:
            continue
        value, _ = _value(list(_tokens(specification, match.end())), 0)
        found.setdefault(collection, []).append(value)
    return found


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Every field path of a document; an entry of a list is `[]`, a digit among names stays as it is."""
    if isinstance(value, Mapping) and not any(name.startswith("$") for name in value):
        for name, each in value.items():
            inner = f"{path}.{name}" if path else name
            yield inner
            yield from paths(each, inner)
    elif isinstance(value, list):
        for each in value:
            yield from paths(each, f"{path}[]")


def _tokens(text: str, at: int) -> Iterator[Token]:
    """The tokens of one literal: they end where its braces do."""
    depth = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"no JavaScript literal at {text[at : at + 40]!r}")
        at, kind = found.end(), found.lastgroup or ""
        if found["call"] is not None:
            kind = "call"
        if kind == "skip":
            continue
        yield kind, found[0]
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(found[0], 0)
        if depth == 0:
            return


def _value(tokens: list[Token], at: int) -> tuple[Any, int]:
    kind, text = tokens[at]
    if kind == "text":
        return _text(text), at + 1
    if kind == "number":
        return json.loads(text), at + 1
    if kind == "call":
        return _called(text), at + 1
    if kind == "word":
        return _WORDS.get(text, {"$code": text}), at + 1
    return _object(tokens, at + 1) if text == "{" else _list(tokens, at + 1)


def _object(tokens: list[Token], at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while tokens[at][1] != "}":
        kind, name = tokens[at]
        found[_text(name) if kind == "text" else name], at = _value(tokens, at + 2)
        at += tokens[at][1] == ","
    return found, at + 1


def _list(tokens: list[Token], at: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    while tokens[at][1] != "]":
        value, at = _value(tokens, at)
        found.append(value)
        at += tokens[at][1] == ","
    return found, at + 1


def _text(literal: str) -> str:
    if literal.startswith('"'):
        return str(json.loads(literal))
    return literal[1:-1].replace("\\'", "'")


def _called(text: str) -> Any:
    name, _, given = text.partition("(")
    inner = given.removesuffix(")").strip().strip("\"'")
    known = {"ObjectId": "$oid", "new Date": "$date", "ISODate": "$date"}.get(" ".join(name.split()))
    if known is None:
        return {"$code": text}
    is_open = inner in ("", "...") or (known == "$oid" and not _ID.fullmatch(inner))
    return {known: None if is_open else inner}


if __name__ == "__main__":
    found = samples(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
