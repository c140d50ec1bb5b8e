"""Makes the bundle that desktop clients install by a double click: `dist/image-gen-mcp-server-VERSION.mcpb`.

The format is MCPB 0.4 (https://github.com/modelcontextprotocol/mcpb/blob/main/MANIFEST.md) with the `uv` runtime: the client's uv installs the packages, in the
versions of the lock file, so that one bundle serves every system.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from packaging.version import Version

from mcp_image_server import __version__, providers

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "mcp_image_server"
NAME = "image-gen-mcp-server"

MAIN = '''\
"""The bundle's entry: the server over standard input and output."""

import sys

from mcp_image_server.__main__ import main

if __name__ == "__main__":  # the painting process imports this too
    sys.argv[1:] = ["serve", "--transport", "stdio"]
    main()
'''

KEYS = {
    "OPENAI_API_KEY": "openai",
    "GEMINI_API_KEY": "gemini",
    "BFL_API_KEY": "bfl",
    "FAL_KEY": "fal",
    "REPLICATE_API_TOKEN": "replicate",
    "STABILITY_API_KEY": "stability",
    "DASHSCOPE_API_KEY": "dashscope",
    "DOUBAO_API_KEY": "doubao",
    "MODELSCOPE_SDK_TOKEN": "modelscope",
}
"""Variables that a person is asked for, and whose they are; everything else goes into a TOML file that can be named."""

_PIN = re.compile(r"^([\w.-]+==\S+)( ; .+?)? \\$", re.MULTILINE)


def main(arguments: Sequence[str]) -> None:
    """Writes the bundle into the folder that is named, or into `dist`."""
    folder = Path(arguments[0]) if arguments else ROOT / "dist"
    print(make(folder))


def make(folder: Path) -> Path:
    """Where the bundle is. The same sources make the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}-{__version__}.mcpb"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, data in sorted(contents()):
            archive.writestr(ZipInfo(name), data, ZIP_DEFLATED)  # without a time of day
    return path


def contents() -> Iterator[tuple[str, bytes]]:
    """Every file of the bundle."""
    yield "manifest.json", json.dumps(manifest(), ensure_ascii=False, indent=2).encode()
    yield "pyproject.toml", project().encode()
    yield "server/main.py", MAIN.encode()
    for name in ("LICENSE", "README.md"):
        yield name, (ROOT / name).read_bytes()
    for path in SOURCE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"server/mcp_image_server/{path.relative_to(SOURCE).as_posix()}", path.read_bytes()


def manifest() -> dict[str, Any]:
    """What the client reads before anything runs."""
    about = _about()
    titles = {name: catalogue.title.partition(":")[0] for name, catalogue in providers.catalogues().items()}
    keys = {
        variable.lower(): {
            "type": "string",
            "title": f"{titles[provider]}: key",
            "description": f"{variable}, if you have an account there. Without any key, the built-in sketch draws.",
            "sensitive": True,
            "required": False,
            "default": "",
        }
        for variable, provider in KEYS.items()
    }
    folder = {
        "type": "directory",
        "title": "Folder for pictures",
        "description": "Where pictures are stored.",
        "required": False,
        "default": "${HOME}/Pictures/generated",
    }
    file = {
        "type": "string",
        "title": "File with further settings",
        "description": "Path of a TOML file for everything else that can be set, further services and budgets among it. Empty: none.",
        "required": False,
        "default": "",
    }
    return {
        "manifest_version": "0.4",
        "name": NAME,
        "display_name": "Image generation",
        "version": semantic(__version__),
        "description": about["description"],
        "author": {"name": "The image-gen-mcp-server authors"},
        "license": about["license"],
        "keywords": about["keywords"],
        "server": {
            "type": "uv",
            "entry_point": "server/main.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--project", "${__dirname}", "--no-dev", "${__dirname}/server/main.py"],
                "env": {
                    **{variable: f"${{user_config.{variable.lower()}}}" for variable in KEYS},
                    "MCP_IMAGE_SAVE_DIR": "${user_config.picture_folder}",
                    "MCP_CONFIG_FILE": "${user_config.config_file}",
                },
            },
        },
        "user_config": {"picture_folder": folder, **keys, "config_file": file},
        "tools_generated": True,
        "prompts_generated": True,
        "compatibility": {"platforms": ["darwin", "win32", "linux"], "runtimes": {"python": about["requires-python"]}},
    }


def project() -> str:
    """What uv installs: the packages of the lock file, and nothing of its own to build."""
    pins = [f"{pin}{marker or ''}" for pin, marker in _PIN.findall((ROOT / "requirements.lock.txt").read_text(encoding="utf-8"))]
    lines = ",\n".join(f"  {json.dumps(pin)}" for pin in pins)
    return (
        f'[project]\nname = "{NAME}-bundle"\nversion = "{__version__}"\nrequires-python = "{_about()["requires-python"]}"\n'
        f"dependencies = [\n{lines},\n]\n\n[tool.uv]\npackage = false\n"
    )


def semantic(version: str) -> str:
    """A version of Python's kind as semantic versioning writes it: 1.0.0.dev0 is 1.0.0-dev.0."""
    read = Version(version)
    before = [f"{name}.{number}" for name, number in ((read.pre or (None, None)), ("dev", read.dev)) if number is not None]
    return read.base_version + (f"-{'.'.join(before)}" if before else "")


def _about() -> dict[str, Any]:
    about: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return about


if __name__ == "__main__":
    main(sys.argv[1:])
