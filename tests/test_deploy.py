"""What is shipped besides the package: the bundle for desktop clients, the entry for the MCP registry, the container, the unit for systemd."""

from __future__ import annotations

import configparser
import json
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator
from packaging.version import Version

from mcp_image_server import __version__, providers
from mcp_image_server.settings import Settings
from tests.test_house import PINNED
from tests.transports.server_process import Piped, on_a_port

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
_BUNDLES = runpy.run_path(str(ROOT / "tools" / "make_bundle.py"))
KEYS, make, semantic = _BUNDLES["KEYS"], _BUNDLES["make"], _BUNDLES["semantic"]


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


# The bundle -----------------------------------------------------------------------------------------------------------------------------------

TEXT = {"type": "string", "minLength": 1}
MANIFEST = {
    "type": "object",
    "required": ["manifest_version", "name", "version", "description", "author", "server"],
    "additionalProperties": False,
    "properties": {
        "manifest_version": {"const": "0.4"},
        **dict.fromkeys(("name", "display_name", "description", "license"), TEXT),
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+(-[0-9a-z.]+)?$"},
        "author": {"type": "object", "required": ["name"], "properties": {"name": TEXT}, "additionalProperties": False},
        "keywords": {"type": "array", "items": TEXT},
        "tools_generated": {"type": "boolean"},
        "prompts_generated": {"type": "boolean"},
        "compatibility": {
            "type": "object",
            "properties": {
                "platforms": {"type": "array", "items": {"enum": ["darwin", "win32", "linux"]}},
                "runtimes": {"type": "object", "properties": {"python": TEXT}, "additionalProperties": False},
            },
            "additionalProperties": False,
        },
        "server": {
            "type": "object",
            "required": ["type", "entry_point", "mcp_config"],
            "properties": {
                "type": {"const": "uv"},
                "entry_point": TEXT,
                "mcp_config": {
                    "type": "object",
                    "required": ["command"],
                    "properties": {
                        "command": TEXT,
                        "args": {"type": "array", "items": TEXT},
                        "env": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
        "user_config": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["type", "title", "description"],
                "properties": {
                    "type": {"enum": ["string", "number", "boolean", "directory", "file"]},
                    "title": TEXT,
                    "description": TEXT,
                    "required": {"type": "boolean"},
                    "sensitive": {"type": "boolean"},
                    "default": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
    },
}
"""What MANIFEST.md of MCPB 0.4 asks of the fields that we use."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, unpacked."""
    folder = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(make(folder)) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def filled(value: str, bundle: Path, home: Path, config: dict[str, Any]) -> str:
    """A string of the manifest as a client hands it on for a person who filled in nothing."""
    known = {"__dirname": str(bundle), "HOME": str(home), **{f"user_config.{name}": field["default"] for name, field in config.items()}}
    for _ in range(2):  # defaults have variables too
        value = re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], value)
    return value


def test_the_bundles_manifest_says_what_the_format_asks_for(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    Draft202012Validator(MANIFEST).validate(manifest)
    assert manifest["version"] == semantic(__version__)
    assert (bundle / manifest["server"]["entry_point"]).is_file()
    secrets = {variable for variable in KEYS if manifest["user_config"][variable.lower()]["sensitive"]}
    assert secrets == set(KEYS)
    assert [variable for variable, provider in KEYS.items() if variable not in providers.SWITCHES[provider]] == []


def test_a_version_is_written_as_semantic_versioning_wants_it() -> None:
    written = {"1.0.0.dev0": "1.0.0-dev.0", "1.2.3": "1.2.3", "2.0.0rc1": "2.0.0-rc.1", "2.0.0a1.dev4": "2.0.0-a.1.dev.4"}
    assert {version: semantic(version) for version in written} == written


def test_the_bundles_packages_are_those_of_the_lock_file(bundle: Path) -> None:
    text = (ROOT / "requirements.lock.txt").read_text(encoding="utf-8")
    pins = {f"{match['name']}=={match['version']}" + (f" ; {match['marker']}" if match["marker"] else "") for match in PINNED.finditer(text)}
    project = (bundle / "pyproject.toml").read_text(encoding="utf-8")
    assert {json.loads(line.strip().rstrip(",")) for line in project.splitlines() if line.startswith('  "')} == pins


def test_the_same_sources_make_the_same_bundle(tmp_path: Path) -> None:
    assert make(tmp_path / "a").read_bytes() == make(tmp_path / "b").read_bytes()


def test_the_bundled_server_starts_and_draws_as_the_manifest_says(bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    config, server = manifest["user_config"], manifest["server"]["mcp_config"]
    words = [filled(word, bundle, tmp_path, config) for word in server["args"]]
    assert words[:-1] == ["run", "--project", str(bundle), "--no-dev"]  # what stands before the script is uv's
    settings = {name: filled(value, bundle, tmp_path, config) for name, value in server["env"].items()}
    ours = [
        sys.executable,
        "-c",
        "import sys; sys.path[0] = sys.argv[1]; import mcp_image_server as own; print(own.__file__)",
        str(Path(words[-1]).parent),
    ]
    assert subprocess.check_output(ours, text=True).startswith(str(bundle))  # not what is installed here
    with Piped(tmp_path / "work", [sys.executable, words[-1]], **settings) as piped:
        assert piped.handshake()["result"]["serverInfo"]["version"] == __version__
        answer = piped.call(1, "generate_image", prompt="a cat", resolution="64x64")
        assert answer["ok"]
        assert Path(answer["images"][0]["local_path"]).parent == tmp_path / "Pictures" / "generated"
        assert piped.close()[0] == 0


# The registry ---------------------------------------------------------------------------------------------------------------------------------

ARGUMENT = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": ["positional", "named"]}, "name": TEXT, "value": TEXT},
    "additionalProperties": False,
    "allOf": [{"if": {"properties": {"type": {"const": "named"}}}, "then": {"required": ["name"]}, "else": {"required": ["value"]}}],
}
VARIABLE = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": TEXT,
        "description": TEXT,
        "isSecret": {"type": "boolean"},
        "format": {"enum": ["string", "number", "boolean", "filepath"]},
    },
    "additionalProperties": False,
}
ENTRY = {
    "type": "object",
    "required": ["$schema", "name", "description", "version", "packages"],
    "properties": {
        "$schema": {"const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"},
        "name": {"type": "string", "minLength": 3, "maxLength": 200, "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$"},
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "string", "maxLength": 255},
        "packages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["registryType", "identifier", "version", "transport"],
                "properties": {
                    "registryType": {"const": "pypi"},
                    "identifier": TEXT,
                    "version": TEXT,
                    "runtimeHint": {"const": "uvx"},
                    "transport": {"const": {"type": "stdio"}},
                    "packageArguments": {"type": "array", "items": ARGUMENT},
                    "environmentVariables": {"type": "array", "items": VARIABLE},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
"""What the registry's schema of 2025-12-11 asks of the fields that we use."""


def test_the_entry_for_the_registry_is_of_its_form_and_in_step_with_the_package() -> None:
    entry = json.loads(text_of("server.json"))
    Draft202012Validator(ENTRY).validate(entry)
    (package,) = entry["packages"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {entry["version"], package["version"]} == {__version__}
    assert f'name = "{package["identifier"]}"' in project
    assert f'\n{package["identifier"]} = "mcp_image_server.__main__:main"' in project  # what uvx calls is named like the package
    assert f"<!-- mcp-name: {entry['name']} -->" in (ROOT / "README.md").read_text(encoding="utf-8")  # how the registry knows whose it is
    known = {str(info.alias) for info in Settings.model_fields.values()} | {name for each in providers.ORDER for name in providers.variables(each)}
    variables = {variable["name"]: variable for variable in package["environmentVariables"]}
    assert variables.keys() - known == set()
    assert {name for name, variable in variables.items() if variable.get("isSecret")} == set(KEYS)


# The container --------------------------------------------------------------------------------------------------------------------------------


def test_the_image_is_made_of_what_is_there_and_nothing_else_is_sent_to_the_builder() -> None:
    dockerfile = text_of("Dockerfile")
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE) for word in line.split()]
    assert [word for word in copied if not (ROOT / word).exists()] == []
    allowed = {line[1:] for line in text_of("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    assert allowed == set(copied)
    assert re.findall(r"https?://|docker\.io|ghcr|quay|index-url", dockerfile) == []


def test_every_package_of_the_image_is_held_to_its_hash() -> None:
    dockerfile = text_of("Dockerfile").replace("\\\n", "")
    installs = re.findall(r"pip install ([^&\n]+)", dockerfile)
    assert installs
    assert [words for words in installs if "--require-hashes" not in words and "--no-index" not in words] == []
    server, least = (
        {match[0] for match in PINNED.finditer((ROOT / f"requirements{kind}.lock.txt").read_text(encoding="utf-8"))} for kind in ("-server", "")
    )
    names = {re.split(r"==| ", pin)[0] for pin in server}
    assert {re.split(r"==| ", pin)[0] for pin in least} <= names
    assert "asyncpg" in names


def test_the_image_runs_as_nobody_in_particular_and_looks_after_itself() -> None:
    final = text_of("Dockerfile").rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in final
    assert 'HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "/opt/health.py"]' in final
    settings = dict(re.findall(r"(MCP_[A-Z_]+)=(\S+)", final))
    assert settings.keys() <= {str(info.alias) for info in Settings.model_fields.values()}
    assert settings["MCP_DATA_DIR"] == "/data"


def test_the_look_at_health_says_whether_the_server_answers(tmp_path: Path) -> None:
    def look(port: str) -> int:
        words = [sys.executable, str(DEPLOY / "health.py")]
        return subprocess.run(words, env={"MCP_PORT": port, "http_proxy": "http://127.0.0.1:9"}, capture_output=True, check=False).returncode

    with on_a_port(tmp_path) as url:
        port = str(urlsplit(url).port)
        assert look(port) == 0
    assert look(port) == 1


@pytest.mark.parametrize("name", ["compose.yaml", "compose.postgres.yaml"])
def test_the_compose_files_name_what_they_use(name: str) -> None:
    compose = yaml.safe_load(text_of(name))
    volumes = {mount.partition(":")[0] for service in compose["services"].values() for mount in service.get("volumes", [])}
    assert volumes == compose["volumes"].keys()
    settings = {variable for variable in compose["services"]["images"].get("environment", {}) if variable.startswith("MCP_")}
    assert settings <= {str(info.alias) for info in Settings.model_fields.values()}


def test_the_composed_server_can_write_to_its_volume_alone() -> None:
    server = yaml.safe_load(text_of("compose.yaml"))["services"]["images"]
    assert (server["read_only"], server["cap_drop"], server["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert server["ports"] == ["127.0.0.1:8000:8000"]
    assert (ROOT / server["build"]["dockerfile"]).is_file()


# systemd --------------------------------------------------------------------------------------------------------------------------------------

UNIT = DEPLOY / "image-gen-mcp-server.service"


class _Unit(configparser.RawConfigParser):
    """Reads names in the case in which they are written."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_the_unit_sets_what_the_server_knows_and_reloads_by_sighup() -> None:
    unit = _Unit(strict=False)
    unit.read(UNIT, encoding="utf-8")
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit["Service"]["ProtectSystem"] == "strict"
    names = set(re.findall(r"^Environment=(MCP_[A-Z_]+)=", UNIT.read_text(encoding="utf-8"), re.MULTILINE))
    assert names == {"MCP_TRANSPORT", "MCP_DATA_DIR", "MCP_IMAGE_SAVE_DIR"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (0, [])


def test_the_version_is_one_that_python_understands() -> None:
    assert str(Version(__version__)) == __version__
