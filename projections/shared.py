"""Documents that many documents hold alike."""

from collections.abc import Mapping
from typing import Any

import bson


class Shared(dict[str, Any]):
    """A document that many others hold, and nobody changes: `raw` are its bytes, made once for all of them."""

    __slots__ = ("raw",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.raw: bytes = bson.encode(self)
