"""By what a person is found: made of the profile and the words that were named for it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def search_fields(profile: Mapping[str, Any], keywords: Sequence[str]) -> dict[str, Any] | None:
    """`{full_name, keywords, searchable_text}`; None where there is nothing to be found by."""
    full_name = " ".join(_said(profile, "firstName", "lastName"))
    texts = [full_name, *_said(profile, "displayName", "bio"), *keywords]
    searchable = " ".join(_once(texts))
    if not searchable:
        return None
    return {"full_name": full_name, "keywords": list(keywords), "searchable_text": searchable}


def _said(profile: Mapping[str, Any], *names: str) -> list[str]:
    return [text for name in names if (text := " ".join(profile.get(name, "").split()))]


def _once(texts: Iterable[str]) -> list[str]:
    """Without those that stand in what came before, in capitals or not."""
    kept: list[str] = []
    for text in texts:
        before = " ".join(kept).casefold()
        if text and f" {text.casefold()} " not in f" {before} ":
            kept.append(text)
    return kept
