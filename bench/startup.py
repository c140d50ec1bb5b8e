"""Time from spawning the server to its answer to tools/list over stdio, beside an empty `mcp` server started in turn with it."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table
from tests.transports.server_process import COMMAND, Piped
from tests.transports.test_start import EMPTY_SERVER

ROUNDS = 11
GOAL = 1.1


def until_tools_are_listed(command: list[str], folder: Path) -> float:
    """Seconds of one start."""
    began = time.perf_counter()
    with Piped(folder, command) as server:
        server.handshake()
        server.send({"id": 1, "method": "tools/list"})
        server.receive(1)
        took = time.perf_counter() - began
        server.close()
    return took


def run(console: Console) -> None:
    """Prints both medians, and the median of the ratios pair by pair."""
    commands = {"image-gen-mcp-server": COMMAND, "an empty mcp server": [sys.executable, "-c", EMPTY_SERVER]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for round_ in track(range(ROUNDS + 1), description="starting servers", console=console, transient=True):
            for name, command in commands.items():
                took = until_tools_are_listed(command, Path(folder))
                if round_:  # the first start fills the disk cache
                    times[name].append(took)
    table = Table(title=f"Start to tools/list over stdio, {ROUNDS} starts each, in turn")
    for heading in ("server", "median (ms)", "least (ms)", "most (ms)"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for name, took_all in times.items():
        table.add_row(name, *(f"{1000 * value:.0f}" for value in (statistics.median(took_all), min(took_all), max(took_all))))
    console.print(table)
    ours, empty = times.values()
    ratio = statistics.median(a / b for a, b in zip(ours, empty, strict=True))
    console.print(f"ratio: {ratio:.2f} (median of the pairs; goal: at most {GOAL})\n")
