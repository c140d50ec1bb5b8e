"""Time of an MCP ping over stdio while 32 calls wait for a service that does not answer, beside the same ping on the idle server."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.fakes.openai import FakeOpenAI, Trouble
from tests.transports.server_process import Piped, until

CALLS = 32
PINGS = 1000
PAUSE = 0.002
"""Seconds between pings."""


def run(console: Console) -> None:
    """Prints both distributions and the ratios of their medians and 99th percentiles."""
    with tempfile.TemporaryDirectory() as folder, FakeOpenAI() as fake, console.status(f"pinging a server with {CALLS} calls waiting"):
        fake.trouble.extend([Trouble.HANG] * CALLS)
        limits = {"MCP_LIMITS": json.dumps({"openai": {"concurrent": CALLS}}), "MCP_MAX_CONCURRENT_JOBS": str(CALLS)}
        with Piped(Path(folder), OPENAI_API_KEY=fake.key or "", OPENAI_BASE_URL=fake.base_url, **limits) as server:
            server.handshake()
            server.call(0, "search_images")  # opens what is opened on first use
            idle = _pings(server)
            for number in range(1, CALLS + 1):
                server.ask(number, "generate_image", prompt=f"{number} balloons", provider="openai", wait_seconds=3600)
            until(lambda: len(fake.seen) == CALLS, "every call is at the service")
            waiting = _pings(server)
    table = Table(title=f"MCP ping over stdio, idle and with {CALLS} calls waiting at a service, {PINGS} pings each")
    for heading in ("server", "median (ms)", "p99 (ms)", "most (ms)"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for name, times in (("idle", idle), ("waiting", waiting)):
        table.add_row(name, *(f"{1000 * value:.2f}" for value in (statistics.median(times), _p99(times), max(times))))
    console.print(table)
    medians, tails = statistics.median(waiting) / statistics.median(idle), _p99(waiting) / _p99(idle)
    console.print(f"ratio of the medians: {medians:.2f}; of the p99: {tails:.2f}\n")


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def _pings(server: Piped) -> list[float]:
    times = []
    for number in range(PINGS):
        began = time.perf_counter()
        server.send({"id": f"ping-{number}", "method": "ping"})
        server.receive(f"ping-{number}")
        times.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    return times
