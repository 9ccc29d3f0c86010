"""What can go wrong through no fault of the code: each is one line, and an exit code."""
from __future__ import annotations

import sys


class BadInput(Exception):
    """Something that the user gave cannot be used; the message is one line naming it and the reason."""

    code = 2


class MissingData(BadInput):
    """A set is asked for that is not on this machine."""


class OutOfTime(BadInput):
    """A training stopped at $TAD_UNTIL, its checkpoint written: no fault, but not complete."""

    code = 3


def tell(error: Exception | str, name: str = "tadlib") -> None:
    """One line on stderr, whatever the name of a file holds."""
    print(f"{name}:", *str(error).splitlines(), file=sys.stderr)
