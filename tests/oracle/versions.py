"""Invariant 5, of versions: each is the course as it was and what changed since, worked out a second time.

From docs/projections.md and the contract alone: the events of a course in their order, one after the other, with the
whole course before each version at hand.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bson import ObjectId

from tests.oracle.case import Case
from tests.oracle.courses import FIELDS, Story, parts_said
from tests.oracle.finding import miscounted, unequal, unexpected
from tests.oracle.reported import Event, all_details, order, sha1, without_effect
from tests.oracle.stored import OPENING, VOID, Document

_STREAM = re.compile(r"course_[0-9a-f]{24}")
_ABOUT_VERSIONS = "course_version_"
_LISTED = 100
_CHANGES = 1_000

Change = tuple[str, str]
"""What was done, and to which path."""


def version_documents(case: Case) -> Iterator[str]:
    """Every course with versions has one history, and each of its versions one document."""
    expected = {
        stream: expected_versions(events)
        for stream, events in case.stored.streams_of("course_versions").items()
        if _STREAM.fullmatch(stream)
    }
    told = {stream: each for stream, each in expected.items() if each.versions or each.refused}
    histories = Counter(each["stream_id"] for each in case.stored.version_histories)
    yield from miscounted("version history", Counter(told.keys()), histories)
    for document in case.stored.version_histories:
        if document["stream_id"] in told:
            yield from _history_differences(document, told[document["stream_id"]])
    wanted = Counter((stream, label) for stream, each in told.items() for label in each.versions)
    found = Counter((each["stream_id"], each["version"]) for each in case.stored.course_versions)
    yield from miscounted("course version", wanted, found)
    for part in case.stored.course_versions:
        known = told.get(part["stream_id"])
        if known is not None and part["version"] in known.versions:
            yield from _version_differences(part, known)


def _history_differences(document: Mapping[str, Any], expected: "Versions") -> Iterator[str]:
    subject = f"version history {document['_id']}"
    if document["version"] != expected.events:
        yield f"{subject} is at version {document['version']} of {expected.events}"
    yield from unequal(subject, expected.history(), document)


def _version_differences(part: Mapping[str, Any], expected: "Versions") -> Iterator[str]:
    label, stream = part["version"], part["stream_id"]
    subject = f"version {label} of {stream}"
    if part["_id"] != ObjectId(sha1(f"{stream}:{label}")[:12]) or part["slot"] != sha1(stream)[-1]:
        yield f"{subject} is not where one looks for it"
    if not 1 <= part["event_version"] <= expected.events:
        yield f"{subject} was made by event {part['event_version']} of {expected.events}"
    wanted = expected.versions[label]
    shown = {**part, "changes": {**part["changes"], "detailed_changes": None}}
    yield from unequal(subject, wanted["document"], shown)
    snapshot = "course_snapshot"
    yield from unexpected(subject, wanted["document"][snapshot], part[snapshot], snapshot)
    named = part["changes"]["detailed_changes"]
    changes = Counter((each["action"], each["path"]) for each in named)
    if len(wanted["changes"]) <= _CHANGES:
        yield from miscounted(f"change of {subject}", Counter(wanted["changes"]), changes)
    for each in named:
        field = each["path"].partition(".")[0]
        at = wanted["said_at"].get(field, part["created_at"])
        if (each["author"], each["timestamp"]) != (part["metadata"]["created_by"], at):
            yield f"{subject} names another author or moment of {each['path']}"


def expected_versions(events: Sequence[Event]) -> "Versions":
    """What these events of a course, voids among them, make of its versions."""
    versions = Versions(events)
    for event in sorted((each for each in events if each["event_type"] != VOID), key=order):
        versions.take(event)
    return versions


class Versions:
    """The versions of a course, event after event."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = len(events)
        self.course = events[0]["stream_id"].partition("_")[2]
        self.story = Story()
        self.versions: dict[str, Document] = {}
        self.refused: list[tuple[Event, str]] = []
        self.live: str | None = None
        self._before: Document = {}
        self._said_at: dict[str, Any] = {}

    def take(self, event: Event) -> None:
        refused = len(self.story.refused)
        self.story.take(event)
        kind, said = event["event_type"], all_details(event)
        if kind == OPENING:
            self._said_at = dict.fromkeys((*FIELDS, "slug"), event["occurred_at"])
            self._adopt(event)
            return
        self._said_at |= {
            name: event["occurred_at"]
            for name in (*FIELDS, "slug")
            if name in said and (name == "slug" or parts_said({name: said[name]}))
        }
        if not kind.startswith(_ABOUT_VERSIONS):
            return
        if len(self.story.refused) > refused:
            self.refused.append(self.story.refused[-1])
        else:
            self._step(kind.removeprefix(_ABOUT_VERSIONS), said, event)

    def _adopt(self, event: Event) -> None:
        self.versions, self.refused, self.live, self._before = {}, [], self.story.live, {}
        if self.live is not None:
            self._add(self.live, {}, event)
            deployment = self.versions[self.live]["document"]["deployment"]
            deployment |= {"status": "deployed", "deployed_at": event["occurred_at"]}

    def _step(self, kind: str, said: Mapping[str, Any], event: Event) -> None:
        label = said["version"]
        if kind == "created":
            self._add(label, said, event)
        document = self.versions[label]["document"]
        deployment, metadata = document["deployment"], document["metadata"]
        if said.get("approved_by") is not None:
            metadata["approved_by"] = ObjectId(said["approved_by"])
            if deployment["status"] == "draft":
                deployment["status"] = "testing"
        if kind == "deployed":
            deployment |= {
                "status": "deployed",
                "deployed_at": event["occurred_at"],
                "rollback_version": self.live,
            }
            self.live = label
        elif kind == "rolled_back":
            former = said["rollback_version"]
            deployment |= {"status": "rolled_back", "rollback_version": former}
            self.versions[former]["document"]["deployment"]["status"] = "deployed"
            self.live = former

    def _add(self, label: str, said: Mapping[str, Any], event: Event) -> None:
        snapshot = {name: value for name, value in self.story.shown().items() if name in FIELDS}
        if self.story.slugs:
            snapshot["slug"] = self.story.slugs[-1][0]
        changes = [*_changes(self._before, snapshot)] if said else []
        author, breaking = said.get("created_by"), said.get("breaking_changes") or []
        self.versions[label] = {
            "changes": changes,
            "said_at": {**self._said_at},
            "document": {
                "course_id": ObjectId(self.course),
                "version": label,
                "course_snapshot": snapshot,
                "changes": {
                    "type": said.get("type"),
                    "summary": said.get("summary"),
                    "total": len(changes),
                },
                "metadata": {
                    "created_by": None if author is None else ObjectId(author),
                    "approved_by": None,
                    "migration_required": said.get("migration_required", False),
                    "backward_compatible": said.get("backward_compatible", not breaking),
                    "breaking_changes": breaking,
                },
                "deployment": {"status": "draft", "deployed_at": None, "rollback_version": None},
                "created_at": event["occurred_at"],
            },
        }
        self._before = snapshot

    def history(self) -> Document:
        listed = []
        for label, each in reversed(self.versions.items()):
            status = each["document"]["deployment"]["status"]
            shown = "current" if label == self.live else "archived" if status == "deployed" else status
            created_at = each["document"]["created_at"]
            listed.append({"version": label, "created_at": created_at, "status": shown})
        return {
            "entity_type": "course",
            "entity_id": ObjectId(self.course),
            "versions": listed[:_LISTED],
            "versions_total": len(listed),
            "current_version": self.live,
            "without_effect": without_effect(self.refused),
        }


def _changes(before: Document, after: Document) -> Iterator[Change]:
    """What must be told to have changed, by path; the curriculum by what its modules and lessons are."""
    for name in {**before, **after}:
        if name == "curriculum":
            yield from _curriculum(before.get(name) or [], after.get(name) or [])
        else:
            yield from _plain(name, before.get(name), after.get(name))


def _plain(path: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            yield from _plain(f"{path}.{name}", before.get(name), after.get(name))
    else:
        yield _said(path, before, after)


def _said(path: str, before: Any, after: Any) -> Change:
    return "add" if before is None else "remove" if after is None else "update", path


def _curriculum(before: Sequence[Document], after: Sequence[Document]) -> Iterator[Change]:
    old, new = _lessons(before), _lessons(after)
    modules = {each["_id"]: each for each in before}
    yield from _list("curriculum", before, after, modules, {each["_id"] for each in after})
    for place, module in enumerate(after):
        path, known = f"curriculum.{place}", modules.get(module["_id"])
        if known is not None:
            yield from _fields(path, known, module, without=("lessons",))
            yield from _list(f"{path}.lessons", known["lessons"], module["lessons"], old, new)
        for number, lesson in enumerate(module["lessons"]):
            here = f"{path}.lessons.{number}"
            if lesson["_id"] in old:
                if known is None or all(lesson["_id"] != each["_id"] for each in known["lessons"]):
                    yield "update", here
                yield from _fields(here, old[lesson["_id"]], lesson)


def _lessons(curriculum: Sequence[Document]) -> dict[Any, Document]:
    return {lesson["_id"]: lesson for module in curriculum for lesson in module["lessons"]}


def _list(
    path: str, before: Sequence[Document], after: Sequence[Document], old: Any, new: Any
) -> Iterator[Change]:
    if any(each["_id"] not in old for each in after):
        yield "add", path
    if any(each["_id"] not in new for each in before):
        yield "remove", path
    both = {each["_id"] for each in before} & {each["_id"] for each in after}
    sequences = [
        [each["_id"] for each in sorted(some, key=lambda each: each["order"]) if each["_id"] in both]
        for some in (before, after)
    ]
    if sequences[0] != sequences[1]:
        yield "update", path


def _fields(path: str, before: Document, after: Document, without: Sequence[str] = ()) -> Iterator[Change]:
    for name in {**before, **after}:
        if name not in ("_id", "order", *without) and before.get(name) != after.get(name):
            yield _said(f"{path}.{name}", before.get(name), after.get(name))
