"""What can go wrong through no fault of the code: each is one line, and an exit code."""
from __future__ import annotations

import sys

LONGEST = 400  # characters of a message that are printed


class BadInput(Exception):
    """Something that the user gave cannot be used; the message is one line naming it and the reason."""

    code = 2


class MissingData(BadInput):
    """A set is asked for that is not on this machine."""


class OutOfTime(BadInput):
    """A training stopped at $TAD_UNTIL, its checkpoint written: no fault, but not complete."""

    code = 3


def plain(text: object) -> str:
    """Anybody's text on one line: what would steer a terminal is escaped, and of a long one the middle is left out."""
    line = " ".join(str(text).splitlines())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST * 5 // 8]} ... {line[-LONGEST * 3 // 8 + 5 :]}"


def tell(error: Exception | str, name: str = "tadlib") -> None:
    """One line on stderr, whatever the name of a file holds."""
    print(f"{name}: {plain(error)}", file=sys.stderr)
