"""Connections of the HTTP port: however many strangers hold one, whoever comes next is answered."""

import time
from typing import Any, Final

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError

# Beyond this many the oldest is hung up on: a probe is answered within milliseconds and is never that.
MOST: Final = 500
# An answer takes milliseconds. Whoever sends a byte a second, or reads one, keeps neither place nor thread longer.
LONGEST_S: Final = 30.0


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # the library has no types
    def parse_header(self, header_plus: bytes) -> Any:
        """As the library does; a URL that Python cannot take apart is a bad request like any other."""
        try:
            return super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("Bad URI") from error


class Connection(HTTPChannel):  # type: ignore[misc]  # the library has no types
    """One client's connection, which ends soon and makes room for the next."""

    parser_class = _Parser

    def __init__(self, server: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(server, *arguments, **options)
        if len(server.active_channels) > MOST:
            oldest = next(iter(server.active_channels.values()))
            oldest.will_close = True

    def writable(self) -> Any:
        """Asked at every turn of the server, and so the place to look at the clock."""
        if time.time() - self.creation_time > LONGEST_S:
            self.will_close = True
        return super().writable()
