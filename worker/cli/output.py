"""Standard output and error as a command writes to them: whoever reads may leave, and may know ASCII only.

One mechanism for every command and library: both streams are replaced once, before anything is printed.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO


def take_over_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr`.

    What a reader that has left (`| head -1`) no longer reads is dropped, and the command ends as it would have.
    A letter that the stream's encoding does not have is shown as its escape.
    """
    sys.stdout = _taken_over(sys.stdout)
    sys.stderr = _taken_over(sys.stderr)


def _taken_over(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed by whoever started us
        return Path(os.devnull).open("w", encoding="utf-8")
    outlet = _Outlet(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(outlet), encoding=stream.encoding, errors="backslashreplace", line_buffering=True
    )


class _Outlet(io.FileIO):
    """A file descriptor that never raises for a reader that has left, and only once for a full disk."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self._discard()
            return len(data)
        except OSError:
            self._discard()  # or the flush at the very end would fail once more, behind the exit code
            raise

    def _discard(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def visible(text: str) -> str:
    """The text with everything that cannot be printed escaped, line ends aside."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def one_line(text: str) -> str:
    """The text with line ends escaped, too: a name that somebody chose cannot pass for a line of ours."""
    return visible(text).replace("\n", "\\n")
