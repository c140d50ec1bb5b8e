"""Making a database, finding one, and being told what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from mcp_image_server.errors import StorageError
from mcp_image_server.history import open_history
from mcp_image_server.history.migrations import migrate, scripts
from mcp_image_server.history.schema import HEAD, metadata

from .values import LEASE, a_job

pytestmark = pytest.mark.anyio

FILE = "history.sqlite3"


def test_the_steps_lead_to_what_the_program_expects() -> None:
    assert scripts().get_heads() == [HEAD]
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        migrate(connection)
        # Defaults are for rows that were there before, and the tables of the full-text index are SQLite's own business.
        opts = {"compare_type": True, "include_name": lambda name, kind, parents: kind != "table" or not name.startswith("image_index")}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_step_is_numbered_in_order_and_gives_its_reason() -> None:
    steps = list(scripts().walk_revisions())[::-1]
    assert [step.revision for step in steps] == [f"{number:04}" for number in range(1, len(steps) + 1)]
    assert all(step.doc for step in steps)


async def test_a_new_history_is_private_durable_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "100% 图"
    history = await open_history(folder)
    await history.enter(a_job(), lease_until=LEASE)
    async with history._read() as connection:
        pragmas = [await connection.scalar(sa.text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]
    assert pragmas == ["wal", 2, 1, 10_000]
    await history.close()
    await history.close()
    if sys.platform != "win32":
        assert folder.stat().st_mode & 0o077 == 0
    again = await open_history(folder)
    assert await again.job("j1") == a_job()
    await again.close()
    assert [path.name for path in folder.iterdir()] == [FILE]


def run(program: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-W", "error", "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)


def test_an_existing_history_is_opened_without_the_migrations(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import anyio
from mcp_image_server.history import open_history

async def main():
    history = await open_history(Path(sys.argv[1]))
    await history.close()
    print("alembic" in sys.modules)

anyio.run(main)
"""
    assert [run(program, tmp_path).communicate(timeout=60)[0].strip() for _ in range(2)] == ["True", "False"]


def test_processes_that_open_a_new_history_at_once_all_can(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
import anyio
import mcp_image_server.history.migrations
from mcp_image_server.history import open_history

sys.path.insert(0, "")
print("ready", flush=True)
folder = Path(sys.argv[1])
while not folder.exists():  # the starting signal
    time.sleep(0.001)

async def main():
    history = await open_history(folder)
    print(len(await history.jobs(None)))
    await history.close()

anyio.run(main)
"""
    folder = tmp_path / "new"
    processes = [run(program, folder) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    folder.mkdir()
    assert [(process.communicate(timeout=60)[0], process.returncode) for process in processes] == [("0\n", 0)] * 3


async def test_a_history_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    await (await open_history(tmp_path)).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StorageError, match=r"newer version of this program \(step 9999; this one knows 0007\)\. Upgrade image-gen-mcp-server"):
        await open_history(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"these are holiday pictures" * 100)
    with pytest.raises(StorageError, match=rf"cannot use the history in {tmp_path / FILE}: the file is damaged or is something else\. Move it away"):
        await open_history(tmp_path)


async def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    await (await open_history(tmp_path)).close()
    data = bytearray((tmp_path / FILE).read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(StorageError, match="the file is damaged"):
        await open_history(tmp_path)


async def test_a_database_that_another_program_holds_is_named(tmp_path: Path) -> None:
    history = await open_history(tmp_path, busy_timeout=0.05)
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another program has held it for too long"):
        await history.enter(a_job(), lease_until=LEASE)
    assert await history.jobs(None) == []
    holder.execute("ROLLBACK")
    await history.enter(a_job(), lease_until=LEASE)
    await history.close()
    holder.close()


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_new_database_that_another_program_holds_is_named(tmp_path: Path, kind: str) -> None:
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute(f"BEGIN {kind}")
    with pytest.raises(StorageError, match="another program has held it for too long"):
        await open_history(tmp_path, busy_timeout=0.05)
    holder.close()
    await (await open_history(tmp_path)).close()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(StorageError, match=rf"cannot make the folder {folder} for the history: .*MCP_DATA_DIR"):
            await open_history(folder)


async def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(StorageError, match="it cannot be opened"):
        await open_history(tmp_path)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user whom permissions bind")
async def test_a_history_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    history = await open_history(tmp_path)
    await history.close()
    (tmp_path / FILE).chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match=r"MCP_DATA_DIR"):
            await (await open_history(tmp_path)).enter(a_job(), lease_until=LEASE)
    finally:
        tmp_path.chmod(0o700)
