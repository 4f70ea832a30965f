"""Groups of settings as tests need them: with numbers that no operator may choose."""

from typing import Any, TypeVar

from worker.settings.group import Group

G = TypeVar("G", bound=Group)


def changed(group: G, **changes: Any) -> G:
    """The group with other values; their bounds are not checked, their names are."""
    assert changes.keys() <= type(group).model_fields.keys(), changes
    return group.model_copy(update=changes)
