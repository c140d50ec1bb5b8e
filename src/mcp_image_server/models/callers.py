"""Who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

LOCAL = "local"
"""The principal of everything made on a server without identities."""

GUEST = "guest"
"""The principal of whoever follows a link that we gave out. Nothing is theirs."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """What the program in front of us said about itself."""

    name: str = ""
    version: str = ""
    protocol_version: str = ""


Ask = Callable[[str], Awaitable[bool]]
"""Puts a question to the person behind the client; true only for a yes."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a principal may have. `None`: as the server's settings say."""

    requests_per_minute: int | None = None
    """Over HTTP, at each server process."""
    jobs: int | None = None
    """Under way at once."""
    images_per_day: int | None = None
    """Asked for in a day (UTC), whatever has become of them."""
    budget_day: int | None = None
    """Money in millionths of the budgets' currency."""
    budget_month: int | None = None

    def over(self, other: Allowance) -> Allowance:
        """Its own words, and those of the other one in what it leaves open."""
        own = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}
        return replace(other, **own)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: the first argument of every studio method."""

    principal: str = LOCAL
    roles: frozenset[str] = frozenset({"admin"})
    """`admin` sees and manages everything; `viewer` changes and draws nothing; without a role one works with one's own things."""
    team: str | None = None
    """Whose shared pictures the caller sees besides."""
    allowance: Allowance = Allowance()
    folders: tuple[Path, ...] = ()
    """Where this caller may let us read and write files, beside the store."""
    client: Client = Client()
    ask: Ask | None = field(default=None, repr=False, compare=False)
    """None where nobody can be asked. May end the call with an exception that is no failure: the call comes again with the answer, so ask before
    anything is begun."""

    @property
    def is_admin(self) -> bool:
        """Sees and manages everything."""
        return "admin" in self.roles

    @property
    def only_looks(self) -> bool:
        """May neither draw nor change anything."""
        return "viewer" in self.roles and not self.is_admin
