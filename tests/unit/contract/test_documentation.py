"""The producers' page names every field, type and reason of the code."""

import re
from pathlib import Path

import pytest

from worker.contract.families import ALL_TYPES, EVENT_TYPES
from worker.contract.family import FURTHER_IDS
from worker.contract.models import Details, Envelope
from worker.contract.rejection import RejectReason

PAGE = (Path(__file__).parents[3] / "docs" / "contract.md").read_text(encoding="utf-8")


def _words_of(*headings: str) -> set[str]:
    sections = PAGE.split("\n## ")
    return {
        word
        for section in sections
        if section.startswith(headings)
        for word in re.findall(r"[a-z][a-z0-9_]+", section)
    }


def test_the_page_names_every_envelope_field() -> None:
    assert {*Envelope.model_fields, *FURTHER_IDS} <= _words_of("The record")


def test_the_page_names_every_event_type() -> None:
    assert set(EVENT_TYPES) <= _words_of("Event types")


def test_the_page_names_every_reject_reason() -> None:
    assert set(RejectReason) <= _words_of("Why a record is refused")


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_the_page_names_every_known_detail_of_each_type(event_type: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{event_type}`" in line)
    known = _known_details(event_type)
    required = {name for name, is_required in known.items() if is_required}
    assert set(known) <= set(re.findall(r"[a-z][a-z_]+", row))
    assert required <= set(re.findall(r"\*\*([a-z_]+)\*\*", row))


def _all_below(model: type[Details]) -> list[type[Details]]:
    return [found for each in model.__subclasses__() for found in (each, *_all_below(each))]


def _known_details(event_type: str) -> dict[str, bool]:
    """Name of each checked key, and whether it is required."""
    model = ALL_TYPES.by_name[event_type].events[event_type]
    named = re.findall(r"(\w+Details)", str(model.model_fields["details"].annotation))
    models = {model.__name__: model for model in _all_below(Details)}
    return {
        name: field.is_required()
        for model in named
        if model in models
        for name, field in models[model].model_fields.items()
    }
