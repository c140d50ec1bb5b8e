"""Bearer tokens that the operator gives out: a TOML file that holds their hashes, never the tokens.

::

    [[token]]
    name = "alice"
    sha256 = "9f86d081…"
    team = "design"
    roles = ["viewer"]
    expires = 2027-01-31
    requests_per_minute = 60
    jobs = 4
    images_per_day = 200
    budget_day = 5.00

The file is read again when it has changed, so that a token that is taken out of it opens nothing from then on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import ConfigError, NotFoundError, RequestError
from ..models import GUEST, LOCAL, Allowance

log = logging.getLogger(__name__)

PREFIX = "mis_"
"""How a token begins, so that people and scanners of repositories know one when they see it."""

_PATIENCE = 10.0
"""Seconds to wait for another process that is changing the file."""

_LOOK_EVERY = 1.0
"""Seconds between two looks at whether the file has changed."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

RESERVED = frozenset({LOCAL, GUEST})

Role = Literal["admin", "viewer"]


def _money(value: object) -> object:
    return round(value * 1_000_000) if isinstance(value, int | float) and not isinstance(value, bool) else value


Money = Annotated[int, BeforeValidator(_money), Field(ge=0)]


class Token(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=f"^{NAME.pattern}$")
    """The principal whose things it opens."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    created: date | None = None
    expires: date | None = None
    """The first day (UTC) on which it opens nothing."""
    roles: frozenset[Role] = frozenset()
    team: str | None = Field(None, pattern=f"^{NAME.pattern}$")
    requests_per_minute: int | None = Field(None, ge=1)
    jobs: int | None = Field(None, ge=1)
    images_per_day: int | None = Field(None, ge=0)
    budget_day: Money | None = None
    budget_month: Money | None = None

    @property
    def allowance(self) -> Allowance:
        """What its bearer may have."""
        return Allowance(
            requests_per_minute=self.requests_per_minute,
            jobs=self.jobs,
            images_per_day=self.images_per_day,
            budget_day=self.budget_day,
            budget_month=self.budget_month,
        )


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    token: tuple[Token, ...] = ()


def new_token() -> str:
    """A token that nobody guesses: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: bytes) -> str:
    """What the file holds of it. A plain hash does: there is nothing to try for 256 random bits."""
    return hashlib.sha256(token).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Contents:
    stamp: tuple[int, int, int]
    tokens: Mapping[str, Token]
    """By hash."""


class TokenFile:
    """The operator's tokens.

    Raises:
        ConfigError: from any method, when the file cannot be read or understood; the message names the entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._contents: _Contents | None = None
        self._looked = 0.0

    def find(self, token: bytes) -> Token | None:
        """The entry of that token, unless it has run out. The token itself is compared with nothing: only its hash is looked up."""
        found = self._tokens().get(hash_of(token))
        return None if found is None or (found.expires is not None and found.expires <= datetime.now(UTC).date()) else found

    def all(self) -> tuple[Token, ...]:
        """Every entry, in the order of the file."""
        self._looked = 0.0
        return tuple(self._tokens().values())

    def add(self, token: Token) -> None:
        """Writes the entry behind the others. What is in the file stays as it is.

        Raises:
            RequestError: there is one of that name, or the name is the server's own.
        """
        if token.name in RESERVED:
            raise RequestError(f"{token.name!r} is a name that the server uses itself; choose another.")
        with self._alone():
            if self.path.exists() and any(token.name == other.name for other in self.all()):
                raise RequestError(f"There is a token for {token.name!r} in {self.path} already. Revoke it first, or choose another name.")
            before = self.path.read_text(encoding="utf-8-sig") if self.path.exists() else ""
            self._write(before + ("\n" if before.strip() else "") + _block(token))

    def remove(self, name: str) -> None:
        """Takes the entry of that name out. All others, and what stands before the first, stay as they are.

        Raises:
            NotFoundError: there is none.
        """
        with self._alone():
            head, *blocks = (
                re.split(r"(?m)^(?=[ \t]*\[\[[ \t]*token[ \t]*\]\])", self.path.read_text(encoding="utf-8-sig")) if self.path.exists() else [""]
            )
            kept = [block for block in blocks if tomllib.loads(block)["token"][0].get("name") != name]
            if len(kept) == len(blocks):
                raise NotFoundError(f"There is no token for {name!r} in {self.path}.", code="token_not_found")
            self._write(head + "".join(kept))

    def _tokens(self) -> Mapping[str, Token]:
        now = time.monotonic()
        if self._contents is None or now - self._looked >= _LOOK_EVERY:
            self._contents, self._looked = self._read_anew(self._contents), now
        return self._contents.tokens

    def _read_anew(self, before: _Contents | None) -> _Contents:
        try:
            facts = self.path.stat()
            stamp = facts.st_mtime_ns, facts.st_size, facts.st_ino
            if before is not None and before.stamp == stamp:
                return before
            try:
                return _Contents(stamp=stamp, tokens=_read(self.path))
            except ConfigError as error:
                if before is None:
                    raise
                log.error("%s The tokens of before still hold.", error.message)
                return replace(before, stamp=stamp)
        except OSError as error:
            words = f"MCP_TOKENS_FILE is {self.path}, which cannot be read: {error.strerror or error}."
            if before is None:
                raise ConfigError(f"{words} `mcp-image-server token create NAME` makes one.") from error
            if before.tokens:
                log.error("%s No token of it opens anything.", words)
            return _Contents(stamp=(0, 0, 0), tokens={})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While the block lasts, no other process changes the file: what it reads is what its change is made of."""
        import sqlite3

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite takes the lock of every system, waits for it, and the system lets go of it for whoever has died.
        try:
            lock = sqlite3.connect(self.path.with_name(f".{self.path.name}.lock"), timeout=_PATIENCE, isolation_level=None)
            with closing(lock):
                lock.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path} cannot be changed just now, or its folder cannot be written: {error}.") from error

    def _write(self, text: str) -> None:
        """In one step, and for the user alone."""
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)
        self._contents = None


def _read(path: Path) -> dict[str, Token]:
    try:
        entries = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig"))).token
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}.") from error
    except ValidationError as error:
        problems = "; ".join(f"{' → '.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors(include_input=False))
        raise ConfigError(f"{path}: {problems}.") from None
    for what, values in (("name", [entry.name for entry in entries]), ("sha256", [entry.sha256 for entry in entries])):
        if twice := {value for value in values if values.count(value) > 1}:
            raise ConfigError(f"{path}: the {what} {min(twice)!r} stands there twice.")
    if wrong := RESERVED.intersection(entry.name for entry in entries):
        raise ConfigError(f"{path}: {min(wrong)!r} is a name that the server uses itself; choose another.")
    return {entry.sha256: entry for entry in entries}


def _block(token: Token) -> str:
    """The entry in TOML. Every value is a number, a day, or text of the few letters that `NAME` allows."""
    lines = ["[[token]]"]
    for name, value in token.model_dump(exclude_none=True).items():
        written: Any = value
        if name in ("budget_day", "budget_month"):
            written = f"{value / 1_000_000:.6f}".rstrip("0") + "0"
        elif isinstance(value, frozenset):
            if not value:
                continue
            written = "[" + ", ".join(f'"{each}"' for each in sorted(value)) + "]"
        elif isinstance(value, str):
            written = f'"{value}"'
        lines.append(f"{name} = {written}")
    return "\n".join(lines) + "\n"
