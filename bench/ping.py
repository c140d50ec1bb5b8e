"""Time of an MCP ping over HTTP while 32 pictures are being drawn, beside the same ping on the idle server."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import httpx2
from rich.console import Console
from rich.table import Table
from tests.transports.server_process import initialize, on_a_port

PICTURES = 32
PAUSE = 0.005
"""Seconds between pings."""

GOAL_MS = 15.0
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def run(console: Console) -> None:
    """Prints both distributions, and how many pictures were drawn meanwhile."""
    with tempfile.TemporaryDirectory() as folder, on_a_port(Path(folder)) as url, console.status(f"drawing {PICTURES} pictures"):
        idle, busy, seconds, drawn = anyio.run(_measure, url)
    table = Table(title=f"MCP ping over HTTP, idle and while {PICTURES} pictures of 1024x1024 are drawn ({drawn} drawn in {seconds:.1f} s)")
    for heading in ("server", "pings", "median (ms)", "p99 (ms)", "most (ms)"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for name, times in (("idle", idle), ("drawing", busy)):
        table.add_row(name, str(len(times)), *(f"{1000 * value:.1f}" for value in (statistics.median(times), _p99(times), max(times))))
    console.print(table)
    console.print(f"ratio of the medians: {statistics.median(busy) / statistics.median(idle):.2f}; goal: p99 under {GOAL_MS:g} ms while drawing\n")


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


async def _measure(url: str) -> tuple[list[float], list[float], float, int]:
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS, trust_env=False, timeout=600) as client:
        session = await _open(client)
        await _draw(client, session, 0)  # opens what is opened on first use
        idle: list[float] = []
        with anyio.move_on_after(3):
            await _ping_for_ever(client, session, idle)
        busy: list[float] = []
        drawn: list[int] = []
        began = time.perf_counter()
        async with anyio.create_task_group() as pinging:
            pinging.start_soon(_ping_for_ever, client, session, busy)
            async with anyio.create_task_group() as drawing:

                async def one(number: int) -> None:
                    await _draw(client, session, number)
                    drawn.append(number)

                for number in range(1, PICTURES + 1):
                    drawing.start_soon(one, number)
            pinging.cancel_scope.cancel()
        return idle, busy, time.perf_counter() - began, len(drawn)


async def _open(client: httpx2.AsyncClient) -> dict[str, str]:
    reply = await client.post("/mcp", json=initialize("2025-11-25"))
    session = {"mcp-session-id": reply.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    await client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    return session


async def _ping_for_ever(client: httpx2.AsyncClient, session: dict[str, str], times: list[float]) -> None:
    while True:
        began = time.perf_counter()
        reply = await client.post("/mcp", json={"jsonrpc": "2.0", "id": f"ping-{len(times)}", "method": "ping"}, headers=session)
        reply.raise_for_status()
        times.append(time.perf_counter() - began)
        await anyio.sleep(PAUSE)


async def _draw(client: httpx2.AsyncClient, session: dict[str, str], number: int) -> None:
    arguments: dict[str, Any] = {"prompt": f"{number + 1} balloons over a village", "resolution": "1024x1024", "wait_seconds": 600}
    call = {"jsonrpc": "2.0", "id": f"draw-{number}", "method": "tools/call", "params": {"name": "generate_image", "arguments": arguments}}
    reply = await client.post("/mcp", json=call, headers=session)
    if '\\"ok\\": true' not in reply.text:
        raise RuntimeError(f"no picture: {reply.text[:500]}")
