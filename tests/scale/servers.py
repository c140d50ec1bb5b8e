"""A real PostgreSQL and a real S3 server, for as long as the tests run: on ports of this machine, in folders of their own, as nobody of consequence."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.ports import free_port

FASTER = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB", "max_connections=200")
"""The database is thrown away at the end."""


class NotThereError(Exception):
    """The server is not installed on this machine."""


def binary(name: str, *folders: str) -> Path:
    """The program of that name, on the path or in one of these folders.

    Raises:
        NotThereError: it is nowhere.
    """
    if found := shutil.which(name):
        return Path(found).resolve()
    for folder in sorted((path for pattern in folders for path in Path("/").glob(pattern)), reverse=True):
        if (folder / name).exists():
            return folder / name
    raise NotThereError(f"there is no program {name!r} on this machine")


@contextmanager
def nobodys_folder() -> Iterator[tuple[Path, str | None]]:
    """A folder, and the user that servers in it run as: PostgreSQL does not run as root."""
    user = None
    if sys.platform != "win32" and os.geteuid() == 0:
        import pwd

        user = next(name for name in ("postgres", "nobody") if any(each.pw_name == name for each in pwd.getpwall()))
    with tempfile.TemporaryDirectory(prefix="server-", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        yield Path(folder), user


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A running PostgreSQL."""

    port: int
    password: str

    def url(self, database: str = "postgres", *, password: str | None = None) -> str:
        """The address of a database."""
        return f"postgresql://postgres:{password or self.password}@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres(*options: str) -> Iterator[Postgres]:
    """A new PostgreSQL with these options in place of those that make it fast.

    Raises:
        NotThereError: it is not installed.
    """
    initdb = binary("initdb", "usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql*/bin")
    control = initdb.with_name("pg_ctl")
    with nobodys_folder() as (folder, user):
        password, port, data = secrets.token_hex(8), free_port(), folder / "data"
        (folder / "password").write_text(password)

        def run(*command: str | Path) -> None:
            # The server goes on and keeps what it is given, so no pipe may be waited for.
            with (folder / "log").open("ab") as log:
                done = subprocess.run(command, user=user, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"LC_ALL": "C.UTF-8"})
            assert done.returncode == 0, (folder / "log").read_text()

        run(initdb, "-D", data, "-U", "postgres", "-E", "UTF8", "--no-sync", "--auth=scram-sha-256", "--pwfile", folder / "password")
        settings = " ".join(f"-c {option}" for option in (options or FASTER))
        run(control, "-D", data, "-w", "-s", "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} {settings}", "start")
        try:
            yield Postgres(port=port, password=password)
        finally:
            run(control, "-D", data, "-w", "-s", "-m", "immediate", "stop")


async def emptied(server: Postgres, database: str) -> str:
    """The address of that database on the server, without a row in it; its tables stay where it has any, so that they need not be made for each test."""
    asyncpg: Any = import_module("asyncpg")
    connection = await asyncpg.connect(server.url(), timeout=60)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", database):
            await connection.execute(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")
    finally:
        await connection.close()
    connection = await asyncpg.connect(server.url(database), timeout=60)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
        if tables:
            await connection.execute(f"TRUNCATE {', '.join(row['tablename'] for row in tables)} RESTART IDENTITY")
    finally:
        await connection.close()
    return server.url(database)


BUCKET = "pictures"


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """A running S3 server with one bucket."""

    port: int
    secret: str

    @property
    def access(self) -> dict[str, str]:
        """The variables of somebody who may do everything with what lies in the bucket, and nothing else."""
        return self._access("writer")

    @property
    def reading(self) -> dict[str, str]:
        """The variables of somebody who may only look at it."""
        return self._access("reader")

    def _access(self, name: str) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": name,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A new S3 server that holds its users to their keys and rights.

    Raises:
        NotThereError: it is not installed.
    """
    program = binary("weed", str(Path(sys.executable).parent).lstrip("/"))
    with nobodys_folder() as (folder, user):
        secret = secrets.token_hex(8)
        rights = {"writer": ("Read", "Write", "List"), "reader": ("Read", "List")}
        identities = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": [f"{action}:{BUCKET}" for action in actions]}
            for name, actions in rights.items()
        ]
        (folder / "identities.json").write_text(json.dumps({"identities": identities}))
        command = [str(program), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={folder / 'identities.json'}"]
        command += [f"-{part}.port{'.grpc' * grpc}={free_port()}" for part in ("filer", "master", "volume", "s3") for grpc in (0, 1)]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=64"]
        port, filer = (next(int(word.rpartition("=")[2]) for word in command if word.startswith(f"-{part}.port=")) for part in ("s3", "filer"))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, user=user, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"HOME": str(folder)})
        try:
            deadline = time.monotonic() + 180
            for url in (f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", f"http://127.0.0.1:{port}/{BUCKET}"):
                while not _answers(url):
                    assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
                    time.sleep(0.05)
            yield ObjectStore(port=port, secret=secret)
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    """Whether there is somebody who makes that folder, has it, or says that we may not."""
    try:
        with urlopen(Request(url, method="POST"), timeout=5):
            return True
    except HTTPError as error:
        return error.code < 500
    except OSError:
        return False
