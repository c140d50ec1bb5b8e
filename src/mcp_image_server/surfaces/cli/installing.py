"""The server entered into a client's configuration: `install`."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ...errors import ImageServerError, RequestError, StorageError
from ...settings import SECRET_WORDS
from . import jsonc
from .clients import CLIENTS, Client
from .running import say, told

T = TypeVar("T")

OURS = ("mcp-image-server", "mcp_image_server", "image-gen-mcp-server", "mcp-server")
"""One of these is in the command of every entry that starts this server."""

_SECRET = re.compile(rf'("[^"]*(?:{"|".join((*SECRET_WORDS, "AUTHORIZATION"))})[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)


def install(
    client: Annotated[str, typer.Argument(help=f"{', '.join(CLIENTS)}.")],
    name: Annotated[str, typer.Option(help="What the client calls the server.")] = "images",
    url: Annotated[
        str, typer.Option(help="Address of a server that already runs, such as http://127.0.0.1:8000/mcp. Without, the client starts one.")
    ] = "",
    header: Annotated[list[str] | None, typer.Option(help="With --url: a header, as NAME=VALUE. May be repeated.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="Without --url: a variable of the server, as NAME=VALUE. May be repeated.")] = None,
    project: Annotated[
        bool, typer.Option("--project", help="Write into the file of the project in the working directory, not into your own.")
    ] = False,
    file: Annotated[Path | None, typer.Option(help="Write into this file.")] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the entry, and write nothing.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take the server out again.")] = False,
) -> None:
    """Enter this server into a client's configuration. What else stands there is kept, and a copy of the file as it was is left beside it."""
    try:
        known = _client(client)
        path = _path(known, file, project=project)
        variables, headers = _pairs(env, "--env"), _pairs(header, "--header")
        if only_print and not uninstall:
            entry = _new_entry(known, {}, url=url, env=variables, headers=headers)
            say(f"For {path}:")
            print(json.dumps({known.table: {name: entry}}, ensure_ascii=False, indent=2))
            return
        text = _read(path)
        old = _entry(text, path, known.table, name)
        where = (known.table, name)
        if uninstall:
            changed = _edited(path, lambda: jsonc.drop(text, where))
        else:
            entry = _new_entry(known, old, url=url, env=variables, headers=headers)
            changed = text if entry == old else _edited(path, lambda: jsonc.put(text, where, entry))
        if changed == text:
            print(f"{path} needs no change.")
            return
        for line in _difference(text, changed, path.name):
            print(line)
        if only_print:
            return
        backup = _write(path, changed)
    except ImageServerError as error:
        raise typer.Exit(told(error, as_json=False)) from error
    print(f"Wrote {path}." + (f" As it was: {backup}." if backup else ""))
    say(f"{known.title}: {known.then}")


def _client(name: str) -> Client:
    if name not in CLIENTS:
        raise RequestError(f"There is no client {name!r}; there are: {', '.join(CLIENTS)}. For others, docs/clients.md shows what to write.")
    return CLIENTS[name]


def _path(client: Client, file: Path | None, *, project: bool) -> Path:
    if file is not None:
        return file.expanduser().absolute()
    if not project:
        return client.path(Path.home(), sys.platform, os.environ)
    if not client.project_file:
        raise RequestError(f"{client.title} has no file for a project; leave --project away.")
    return Path.cwd() / client.project_file


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"Cannot read {path}: {error}. Nothing was changed.") from error


def _entry(text: str, path: Path, table: str, name: str) -> Mapping[str, Any]:
    """What stands there for the server; empty where nothing does.

    Raises:
        RequestError: the file cannot be understood, or another server has the name.
    """
    whole = _edited(path, lambda: jsonc.read(text))
    whole = {} if whole is None else whole
    servers = whole.get(table, {}) if isinstance(whole, Mapping) else None
    old = servers.get(name, {}) if isinstance(servers, Mapping) else None
    if not isinstance(old, Mapping):
        raise RequestError(f"{path} does not hold what a client would write there: {table} is no object of objects. Nothing was changed.")
    words = json.dumps([old.get("command", ""), old.get("args", "")])
    if old.get("command") and not any(own in words for own in OURS):
        raise RequestError(f"{path} has another server of the name {name!r}. Nothing was changed; choose another --name.")
    return old


def _edited(path: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except ValueError as error:
        raise RequestError(
            f"{path} is not JSON that can be changed safely: {error}. Nothing was changed; put it right, or add by hand what --print shows."
        ) from error


def _new_entry(client: Client, old: Mapping[str, Any], *, url: str, env: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
    if url and env:
        raise RequestError("--env is for a server that the client starts; one at an address has its own variables.")
    if headers and not url:
        raise RequestError("--header is for a server at an address; name it with --url.")
    if url and not re.match(r"https?://[^/\s]+", url):
        raise RequestError(f"--url is {url!r}; write an address such as http://127.0.0.1:8000/mcp.")
    return client.remote_entry(old, url=url, headers=headers) if url else client.entry(old, command=command(), env=env)


def command() -> list[str]:
    """What starts this very program over stdio, by full paths: desktop programs know little of a shell's PATH."""
    words = ["serve", "--transport", "stdio"]
    script = Path(sys.argv[0]).absolute()
    if "archive-v0" in Path(sys.prefix).parts:  # an environment of uvx, which goes away
        return [shutil.which("uvx") or "uvx", "--from", "image-gen-mcp-server", "mcp-image-server", *words]
    if script.name == "mcp-server":
        return [sys.executable, str(script), *words]
    return [sys.executable, "-m", "mcp_image_server", *words]


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    pairs = [words.partition("=") for words in given or ()]
    if wrong := [name for name, equals, _ in pairs if not equals or not name.strip()]:
        raise RequestError(f"{option} needs NAME=VALUE, and {wrong[0].strip()[:40]!r} is not that.")
    return {name.strip(): value for name, _, value in pairs}


def _difference(before: str, after: str, name: str) -> list[str]:
    """What changes, without secrets."""
    old, new = (_SECRET.sub(r'\1"(not shown)"', text).splitlines() for text in (before, after))
    return list(difflib.unified_diff(old, new, fromfile=name, tofile=f"{name}, new", lineterm=""))


def _write(path: Path, text: str) -> Path | None:
    """Puts the text in the file's place in one step; where the copy of the old file is."""
    target = path.resolve()  # a link stays one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        backup = None
        if target.exists():
            names = (target.with_name(f"{target.name}.bak{number or ''}") for number in count())
            backup = next(each for each in names if not each.exists())
            shutil.copy2(target, backup)
        new = target.with_name(f"{target.name}.{os.getpid()}.new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode())
        if backup is not None:
            shutil.copymode(target, new)
        new.replace(target)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}. It is as it was; --print shows what to add by hand.") from error
    return backup
