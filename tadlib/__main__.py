"""The command line: python -m tadlib COMMAND ... (see --help). Bad input: one clear line, exit code 2."""
from __future__ import annotations

import sys

from tadlib import settings
from tadlib.tool import commands


def main(arguments: list[str] | None = None) -> int:
    options = commands.parser().parse_args(arguments)
    settings.put("TAD_DEVICE", getattr(options, "device", None))
    return commands.guarded(lambda: options.act(options), "tadlib")


def run() -> None:
    """The command `tadlib`."""
    commands.prepare()
    sys.exit(main())


if __name__ == "__main__":
    run()
