"""These tests draw with true pipelines. They need the extra `[diffusers]`, which `make test-local` installs; elsewhere there is nothing to collect."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("diffusers") else ["test_*.py"]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads over so few numbers would mostly wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny models of random weights; see `make_tiny`."""
    place = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-W", "ignore", str(Path(__file__).parent / "make_tiny.py"), str(place)], check=True, capture_output=True)
    return place
