"""Time to find pictures by words among 200,000 records in English and Chinese, beside a scan that looks for the same text in every prompt."""

from __future__ import annotations

import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console
from rich.table import Table

from mcp_image_server.history import History, open_history
from mcp_image_server.history.words import words_of

RECORDS = 200_000
ROUNDS = 5
PAGE = 20

ENGLISH = [
    "red",
    "fox",
    "snow",
    "mountain",
    "lake",
    "sunrise",
    "castle",
    "dragon",
    "astronaut",
    "lighthouse",
    "watercolor",
    "portrait",
    "misty",
    "forest",
    "ancient",
    "robot",
    "garden",
    "neon",
    "city",
    "rain",
]
CHINESE = [
    "狐狸",
    "雪地",
    "高山",
    "湖泊",
    "日出",
    "城堡",
    "巨龙",
    "宇航员",
    "灯塔",
    "水彩",
    "肖像",
    "薄雾",
    "森林",
    "古代",
    "机器人",
    "花园",
    "霓虹",
    "城市",
    "细雨",
    "江南",
]
RARE = ("quokka", "赤狐", "theodolite", "麒麟")
"""Words of one record in ten thousand."""

QUERIES = (
    "fox",
    "red fox",
    "fox lighthouse sno",
    "f",
    "quokka",
    "theodol",
    "狐狸",
    "狐狸 雪地",
    "灯塔日出",
    "麒麟",
    "赤狐",
    "red 狐狸",
    "nowhere",
    "无此",
)


def run(console: Console) -> None:
    """Prints both 95th percentiles and their ratio."""
    with tempfile.TemporaryDirectory() as folder, console.status(f"writing {RECORDS:,} records"):
        anyio.run(_measure, Path(folder), console)


async def _measure(folder: Path, console: Console) -> None:
    history = await open_history(folder)
    file = folder / "history.sqlite3"
    try:
        _fill(file)
        ours = {query: [await _found(history, query) for _ in range(ROUNDS)] for query in QUERIES}
    finally:
        await history.close()
    with closing(sqlite3.connect(file)) as connection:
        theirs = {query: [_scanned(connection, query) for _ in range(ROUNDS)] for query in QUERIES}
    table = Table(title=f"First page of pictures that hold the words, {RECORDS:,} records, {file.stat().st_size / 1e6:.0f} MB")
    for heading in ("words", "index (ms)", "scan (ms)"):
        table.add_column(heading, justify="left" if heading == "words" else "right")
    for query in QUERIES:
        table.add_row(query, f"{1000 * statistics.median(ours[query]):.1f}", f"{1000 * statistics.median(theirs[query]):.1f}")
    console.print(table)
    index, scan = (_p95([seconds for rounds in times.values() for seconds in rounds]) for times in (ours, theirs))
    console.print(f"p95: {1000 * index:.1f} ms beside {1000 * scan:.1f} ms; ratio: {index / scan:.4f}\n")


async def _found(history: History, query: str) -> float:
    began = time.perf_counter()
    await history.library.search(None, query, limit=PAGE)
    return time.perf_counter() - began


def _scanned(connection: sqlite3.Connection, query: str) -> float:
    began = time.perf_counter()
    parts = query.split()
    held = " AND ".join("prompt LIKE ?" for _ in parts)
    statement = f"SELECT * FROM images WHERE {held} ORDER BY created_at DESC, id DESC LIMIT {PAGE}"
    connection.execute(statement, [f"%{part}%" for part in parts]).fetchall()
    return time.perf_counter() - began


def _p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def _fill(file: Path) -> None:
    """Writes the records past the program, which would do so job by job."""
    now = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        jobs: dict[str, Any] = {
            row[1]: 0 if "INT" in row[2] or "BOOL" in row[2] or "FLOAT" in row[2] else "{}" for row in connection.execute("PRAGMA table_info(jobs)")
        }
        jobs |= {"id": "j", "state": "succeeded", "idempotency_key": None}
        connection.execute(f"INSERT INTO jobs ({', '.join(jobs)}) VALUES ({', '.join('?' * len(jobs))})", list(jobs.values()))
        columns = (
            "id, job_id, position, principal, provider, model, prompt, store_url, key, media_type, width, height, size_bytes, sha256, thumbhash, "
            "parents, created_at, title, favourite"
        )
        rows = (
            (
                f"{number:016x}-1",
                "j",
                number,
                "local",
                "openai",
                "m",
                prompt,
                "file:///p",
                f"img_{number:016x}-1.png",
                "image/png",
                1024,
                1024,
                10**6,
                "0" * 64,
                "h",
                "[]",
                now + number,
                "",
                0,
            )
            for number, prompt in enumerate(_prompts())
        )
        connection.executemany(f"INSERT INTO images ({columns}) VALUES ({', '.join('?' * 19)})", rows)
        words = ((f"{number:016x}-1", " ".join(words_of(prompt))) for number, prompt in enumerate(_prompts()))
        connection.executemany("INSERT INTO image_words (image_id, words) VALUES (?, ?)", words)


def _prompts() -> Iterator[str]:
    chance = random.Random(7)
    for number in range(RECORDS):
        vocabulary, space = (CHINESE, "") if number % 2 else (ENGLISH, " ")
        words = chance.choices(vocabulary, k=chance.randint(5, 25))
        if chance.random() < 0.0004:
            words.append(chance.choice(RARE))
        yield f"{space.join(words)}, {number}"
