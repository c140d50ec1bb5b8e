"""Who somebody is who shows a token, and how often they may call."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import ceil

from ..audit import audit
from ..errors import ConfigError, StorageError
from ..models import LOCAL, Allowance, Caller
from ..settings import Settings
from .issuer import Bearer, Issuer
from .tokens import PREFIX, TokenFile

log = logging.getLogger(__name__)

FAILURES = 10
"""Wrong tokens in a minute from one network, after which it is not listened to for a while."""

ALONE = 10.0
"""Seconds for which a server counts alone when it could not with the others, so that not every request waits for them."""

_PROVEN = 10_000
"""Tokens that were good lately, which are let in even from a network where somebody guesses."""

OIDC = "oidc:"
"""Before the subject of an issuer's token, so that it is never somebody of the file: names there have no colon."""


class Unknown(Exception):  # noqa: N818 - an answer, not a defect
    """Nobody we know. `shown`: a token was shown, but it is no good."""

    def __init__(self, *, shown: bool) -> None:
        super().__init__("unknown")
        self.shown = shown


class Forbidden(Exception):  # noqa: N818
    """Somebody we know, whose token does not allow this server. `scopes`: what it would have to allow."""

    def __init__(self, scopes: Sequence[str]) -> None:
        super().__init__("forbidden")
        self.scopes = tuple(scopes)


class TooMany(Exception):  # noqa: N818
    """Too many wrong tokens from there. `seconds`: how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__("too many")
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a principal stands with its requests."""

    allowed: bool
    limit: int
    """In a minute."""
    remaining: int
    reset: int
    """Seconds until there are more."""


class Doorkeeper:
    """Knows the tokens of this server.

    Args:
        resources: the addresses under which clients know this server; an issuer's tokens have to be for one of them, unless MCP_OAUTH_AUDIENCE says otherwise.
        together: counts one more request of a principal for all servers together, of so many in a minute: whether it is allowed, how many are left, and the
            seconds until there are more. None: this process counts alone.

    Raises:
        ConfigError: the token file cannot be read.
    """

    def __init__(
        self, settings: Settings, *, resources: Sequence[str] = (), together: Callable[[str, int], Awaitable[tuple[bool, int, int]]] | None = None
    ) -> None:
        from limits import RateLimitItemPerMinute
        from limits.aio.storage import MemoryStorage
        from limits.aio.strategies import MovingWindowRateLimiter

        self._settings = settings
        self._token = settings.auth_token.get_secret_value().encode() if settings.auth_token else None
        self._file = TokenFile(settings.tokens_file) if settings.tokens_file is not None else None
        if self._file is not None:
            self._file.all()
        self._issuer = issuer_of(settings, resources)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._per_minute = RateLimitItemPerMinute
        self._failures = RateLimitItemPerMinute(FAILURES)
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        self._together = together
        self._alone_until = 0.0

    @property
    def asks(self) -> bool:
        """Whether anybody is asked at all."""
        return self._settings.has_identities

    async def admit(self, token: bytes | None, address: str) -> Caller:
        """Who shows that token.

        Args:
            address: from where, to tell those who guess from others.

        Raises:
            Unknown: nobody.
            Forbidden: somebody whose token is for something else.
            TooMany: whoever it is, there were too many wrong tokens from there.
            ProviderError: the issuer cannot be reached, so that nobody can tell.
        """
        if not self.asks:
            return Caller()
        if not token:
            raise Unknown(shown=False)
        mark, network = hashlib.sha256(token).digest(), _network(address)
        proven = mark in self._proven
        if not proven and not await self._limiter.test(self._failures, "failures", network):
            raise TooMany(await self._wait(network))
        caller = await self._known(token)
        if caller is None:
            self._proven.pop(mark, None)
            await self._limiter.hit(self._failures, "failures", network)
            audit("refused", address=address)
            raise Unknown(shown=True)
        if not proven:
            self._proven[mark] = None
            if len(self._proven) > _PROVEN:
                self._proven.popitem(last=False)
            audit("let_in", principal=caller.principal, roles=sorted(caller.roles), team=caller.team, address=address)
        return caller

    async def count(self, caller: Caller) -> Standing | None:
        """One more request of that principal; None where nobody counts."""
        limit = caller.allowance.requests_per_minute
        if limit is None:
            return None
        allowed, remaining, reset = await self._counted(caller.principal, limit)
        if not allowed:
            audit("too_many_requests", principal=caller.principal, limit=limit)
        return Standing(allowed=allowed, limit=limit, remaining=remaining, reset=reset)

    async def _counted(self, principal: str, limit: int) -> tuple[bool, int, int]:
        if self._together is not None and time.monotonic() >= self._alone_until:
            try:
                return await self._together(principal, limit)
            except StorageError as error:
                log.warning("Requests are counted by each server alone for a while: %s", error.message)
                self._alone_until = time.monotonic() + ALONE
        item = self._per_minute(limit)
        allowed = await self._limiter.hit(item, "requests", principal)
        reset, remaining = await self._limiter.get_window_stats(item, "requests", principal)
        return allowed, remaining, _seconds_until(reset)

    async def aclose(self) -> None:
        """Lets go of connections."""
        if self._issuer is not None:
            await self._issuer.aclose()

    async def _known(self, token: bytes) -> Caller | None:
        usual = self._settings.allowance
        if self._token is not None and hmac.compare_digest(token, self._token):
            return Caller(principal=LOCAL, allowance=usual)
        if self._file is not None and (found := self._find(token)) is not None:
            return found
        if self._issuer is None or token.startswith(PREFIX.encode()) or token.count(b".") != 2:
            return None
        bearer = await self._issuer.read(token)
        if bearer is None:
            return None
        wanted = self._settings.oauth_scopes
        if not bearer.scopes.issuperset(wanted):
            raise Forbidden(wanted)
        return self._caller_of(bearer, usual)

    def _find(self, token: bytes) -> Caller | None:
        assert self._file is not None
        try:
            found = self._file.find(token)
        except ConfigError:
            return None
        if found is None:
            return None
        allowance = found.allowance.over(self._settings.allowance)
        return Caller(principal=found.name, roles=frozenset(found.roles), team=found.team, allowance=allowance)

    def _caller_of(self, bearer: Bearer, usual: Allowance) -> Caller:
        names = {self._settings.oauth_admin_role: "admin", self._settings.oauth_viewer_role: "viewer"}
        roles = frozenset(names[role] for role in bearer.roles if role in names)
        team = f"{OIDC}{bearer.team}" if bearer.team is not None else None
        return Caller(principal=OIDC + bearer.subject, roles=roles, team=team, allowance=usual)

    async def _wait(self, network: str) -> int:
        reset, _ = await self._limiter.get_window_stats(self._failures, "failures", network)
        return max(1, _seconds_until(reset))


def issuer_of(settings: Settings, resources: Sequence[str]) -> Issuer | None:
    """The issuer whose tokens are taken; None where there is none.

    Raises:
        ConfigError: nothing says for whom its tokens have to be.
    """
    if settings.oauth_issuer is None:
        return None
    audiences = settings.oauth_audience or tuple(resources)
    if not audiences:
        raise ConfigError("MCP_OAUTH_ISSUER needs MCP_PUBLIC_BASE_URL, or MCP_OAUTH_AUDIENCE: a token has to say that it is for this server.")
    return Issuer(
        settings.oauth_issuer,
        audiences=audiences,
        jwks_url=settings.oauth_jwks_url,
        subject_claim=settings.oauth_subject_claim,
        roles_claim=settings.oauth_roles_claim,
        team_claim=settings.oauth_team_claim,
    )


def _network(address: str) -> str:
    """An IPv4 address, or the /64 that one person has of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped) if found.ipv4_mapped else str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _seconds_until(moment: float) -> int:
    return max(0, ceil(moment - time.time()))
