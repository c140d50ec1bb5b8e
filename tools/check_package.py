"""Builds the package as it would be published, installs it in an environment of its own, and draws a picture with it. Ends with words when something is amiss."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")


def main() -> None:
    """Runs every step in a folder that is gone afterwards."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        complaint = missing_from(wheel)
        if complaint:
            sys.exit(f"The wheel lacks {len(complaint)} files of src: {', '.join(complaint[:10])}")
        draw(wheel, folder)
        print(f"The package {wheel.name} ({wheel.stat().st_size / 1e6:.1f} MB) is complete, installs from the lock file, and draws.")


def build(folder: Path) -> Path:
    """The wheel, built from the sdist, so that both are known to be whole."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder), cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (source,) = (folder / "sdist").iterdir()
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder), cwd=source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def missing_from(wheel: Path) -> list[str]:
    """What lies in the source tree but not in the wheel: modules, migrations, pages, artwork."""
    files = (path for path in SOURCE.rglob("*") if path.is_file() and not {"__pycache__", ".mypy_cache"} & set(path.parts))
    with ZipFile(wheel) as archive:
        return sorted({path.relative_to(SOURCE).as_posix() for path in files} - set(archive.namelist()))


def draw(wheel: Path, folder: Path) -> None:
    """Proof that the wheel and the lock file are enough to make a picture."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python, command = str(programs / "python"), str(programs / "mcp-image-server")
    run(python, *PIP, "--require-hashes", "--requirement", str(ROOT / "requirements.lock.txt"))
    run(python, *PIP, "--no-index", "--no-deps", str(wheel))
    run(python, "-m", "pip", "--disable-pip-version-check", "check")
    empty = folder / "empty"
    empty.mkdir()
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG")}
    environment["MCP_DATA_DIR"] = str(folder / "data")
    version = run(command, "--version", cwd=empty, env=environment).strip()
    if version not in wheel.name:
        sys.exit(f"The command says it is {version}, the wheel is {wheel.name}.")
    answer = json.loads(run(command, "generate", "a red fox in the snow", "--provider", "sketch", "--json", cwd=empty, env=environment))
    if not Path(answer["images"][0]["local_path"]).is_file():
        sys.exit(f"No picture was stored: {answer}")


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What the command prints; its failure ends the program with what it said."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
