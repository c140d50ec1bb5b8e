"""What is PostgreSQL's own: opening it, sharing it, and losing it. What it has in common with a file is tested in tests/history."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from mcp_image_server.errors import ConfigError, LimitError, StorageError
from mcp_image_server.history import Budget, History, open_history
from mcp_image_server.history.schema import HEAD, metadata
from mcp_image_server.models import Cost, Spending
from mcp_image_server.settings import database_words
from tests.history.values import LEASE, NOW, a_job, an_image
from tests.scale.servers import Postgres, emptied

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(postgres_server: Postgres) -> str:
    return await emptied(postgres_server, "history")


@pytest.fixture
async def history(url: str) -> AsyncIterator[History]:
    history = await open_history(url)
    yield history
    await history.close()


async def execute(history: History, statement: str, *, alone: bool = False) -> Any:
    """The first value of the first row, past the program."""
    engine = history._transactions.engine.execution_options(isolation_level="AUTOCOMMIT") if alone else history._transactions.engine
    async with engine.connect() as connection:
        found = await connection.execute(sa.text(statement))
        return found.scalar() if found.returns_rows else None


# ---------------------------------------------------------------------- opening


async def test_the_steps_lead_to_what_the_program_expects(history: History) -> None:
    def differences(connection: sa.Connection) -> Any:
        # The index over words is of an expression, which the tables' own module does not know.
        options = {"compare_type": True, "include_name": lambda name, kind, parents: name != "image_index"}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with history._transactions.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


PROGRAM = """
import sys
import anyio
import mcp_image_server.history.migrations
from mcp_image_server.history import open_history

print("ready", flush=True)
sys.stdin.readline()

async def main():
    history = await open_history(sys.argv[1])
    print(len(await history.jobs(None)))
    await history.close()

anyio.run(main)
"""


async def test_servers_that_open_a_new_database_at_once_all_can(postgres_server: Postgres, history: History) -> None:
    await execute(history, "DROP DATABASE IF EXISTS fresh", alone=True)
    await execute(history, "CREATE DATABASE fresh TEMPLATE template0 ENCODING 'UTF8'", alone=True)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, postgres_server.url("fresh")]
    servers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]  # noqa: ASYNC220 - nothing else runs
    for server in servers:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("\n")
        server.stdin.flush()
    assert [(server.communicate(timeout=60)[0], server.returncode) for server in servers] == [("0\n", 0)] * 3


async def test_a_database_of_a_newer_version_is_left_alone(history: History, url: str) -> None:
    await execute(history, "UPDATE alembic_version SET version_num = '9999' RETURNING 1", alone=True)
    try:
        with pytest.raises(StorageError, match=rf"newer version of this program \(step 9999; this one knows {HEAD}\)"):
            await open_history(url)
    finally:
        await execute(history, f"UPDATE alembic_version SET version_num = '{HEAD}' RETURNING 1", alone=True)


async def test_a_database_without_room_for_every_language_is_refused(postgres_server: Postgres, history: History) -> None:
    await execute(history, "DROP DATABASE IF EXISTS latin", alone=True)
    await execute(history, "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'", alone=True)
    with pytest.raises(StorageError, match=r"keeps text as LATIN1, which has no room for every language\. Make it with ENCODING 'UTF8'"):
        await open_history(postgres_server.url("latin"))


async def test_what_is_wrong_with_the_database_is_said_without_its_password(postgres_server: Postgres) -> None:
    here = f"127.0.0.1:{postgres_server.port}"
    wrong = {
        postgres_server.url(password="guessed"): f"{here}/postgres: it does not know this user with this password. Correct MCP_DATABASE_URL.",
        postgres_server.url("nowhere"): f"{here}/nowhere: there is no such database. Make it with `createdb`, or correct MCP_DATABASE_URL.",
        "postgresql://u:guessed@127.0.0.1:1/d": "127.0.0.1:1/d: it cannot be reached (Connect call failed ('127.0.0.1', 1)).",
    }
    for url, words in wrong.items():
        with pytest.raises(StorageError) as caught:
            await open_history(url)
        assert caught.value.message == f"cannot use the history in {words}"
        assert database_words(url) in words
    with pytest.raises(ConfigError, match="MCP_DATABASE_URL is not understood") as refused:
        await open_history("mysql://u:guessed@h/d")
    assert "guessed" not in str(refused.value)


async def test_a_user_who_may_not_make_tables_is_told_so(postgres_server: Postgres, history: History) -> None:
    await execute(history, "DROP DATABASE IF EXISTS theirs", alone=True)
    await execute(history, "DROP ROLE IF EXISTS guest", alone=True)
    await execute(history, "CREATE ROLE guest LOGIN PASSWORD 'welcome'", alone=True)
    await execute(history, "CREATE DATABASE theirs TEMPLATE template0 ENCODING 'UTF8'", alone=True)
    with pytest.raises(StorageError, match=r"this user may not do that there\. Make the user the owner of the database"):
        await open_history(f"postgresql://guest:welcome@127.0.0.1:{postgres_server.port}/theirs")


# ---------------------------------------------------------------------- sharing


async def test_a_hundred_submissions_at_once_at_two_servers_never_overspend(history: History, url: str) -> None:
    other = await open_history(url)
    seen: list[int] = []

    def check(spending: Spending) -> None:
        spent = spending.day.get("USD", 0)
        seen.append(spent)
        if spent + 100 > 1000:
            raise LimitError("no money")

    async def submit(each: History, number: int) -> None:
        job = a_job(f"j{number:02}", principal=f"p{number % 3}")
        budget = Budget(check=check, day=NOW, month=NOW)
        try:
            await each.enter(job, lease_until=LEASE, promised=Cost(micros=100, currency="USD", source="list_price"), budget=budget)
        except LimitError:
            return
        if number % 2:  # what was promised becomes what was spent, while others look
            cost = Cost(micros=100, currency="USD", source="reported")
            assert await each.finish(job.id, "here", job.state.SUCCEEDED, images=[an_image(f"{job.id}-1")], cost=cost, now=NOW)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(submit, other if number % 2 else history, number)
    await other.close()
    assert len(await history.jobs(None, limit=100)) == 10
    assert sorted(set(seen)) == list(range(0, 1001, 100))


async def test_what_only_reads_sees_one_moment(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    async with history._read() as connection:
        count = partial(connection.scalar, sa.text("SELECT count(*) FROM jobs"))
        assert await count() == 1
        await history.enter(a_job("j2"), lease_until=LEASE)
        assert await count() == 1
    assert len(await history.jobs(None)) == 2


async def test_a_server_that_stops_in_the_middle_of_a_decision_does_not_stop_the_others(history: History, url: str) -> None:
    paused = await open_history(url, busy_timeout=1)

    async def stop_in_the_middle() -> None:
        async with paused._write() as connection:
            await connection.execute(sa.text("UPDATE jobs SET message = 'half'"))
            await history.enter(a_job(), lease_until=LEASE)  # waits until the database has ended the other's transaction
            await connection.execute(sa.text("SELECT 1"))

    with pytest.raises(StorageError):
        await stop_in_the_middle()
    assert [job.message for job in await history.jobs(None)] == [a_job().message]
    await paused.close()


async def test_who_waits_too_long_for_a_turn_is_told_so(history: History, url: str) -> None:
    hasty = await open_history(url, busy_timeout=1)
    async with history._write():
        with pytest.raises(StorageError, match=r"another server has held it for too long\. Try again"):
            await hasty.enter(a_job(), lease_until=LEASE)
    await hasty.close()


async def test_progress_waits_for_no_decision(history: History, url: str) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    other = await open_history(url)
    async with other._write():
        assert await history.progress("j1", "here", 0.5, "halfway", now=NOW) is not None
    await other.close()


async def test_a_database_that_was_away_is_used_again_as_soon_as_it_is_back(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    with pytest.raises(sa.exc.DBAPIError):
        await execute(history, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
    assert await history.job("j1") == a_job()


# ---------------------------------------------------------------------- searching


async def test_words_are_looked_up_in_the_index(history: History) -> None:
    statements: list[str] = []
    sa.event.listen(history._transactions.engine.sync_engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    await history.library.search(None, "red 狐狸 fo")
    statement = next(each for each in statements if "@@" in each)
    async with history._transactions.engine.connect() as connection:
        await connection.exec_driver_sql("SET enable_seqscan = off")
        await connection.exec_driver_sql("SET enable_indexscan = off")
        plan = " ".join(row[0] for row in await connection.exec_driver_sql(f"EXPLAIN {statement}", ("'red' & '狐狸' & 'fo':*", 20)))
    assert "Bitmap Index Scan on image_index" in plan
