"""`python -m bench [NAME …]`: runs the named benchmarks, or all."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console

from . import ping, polling, search, startup, waiting

ALL: dict[str, Callable[[Console], None]] = {
    "startup": startup.run,
    "ping": ping.run,
    "polling": polling.run,
    "waiting": waiting.run,
    "search": search.run,
}


def main() -> None:
    """Runs what the arguments name."""
    names = sys.argv[1:] or list(ALL)
    if unknown := [name for name in names if name not in ALL]:
        sys.exit(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(ALL)}.")
    for name in names:
        ALL[name](Console())


if __name__ == "__main__":
    main()
