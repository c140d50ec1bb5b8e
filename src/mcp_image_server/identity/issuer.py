"""Tokens of an OAuth 2.1 authorization server (any OpenID Connect issuer): JWTs, checked with the issuer's published keys.

Sources: RFC 9068 (JWT access tokens), RFC 8414 and OpenID Connect Discovery (where the keys are), RFC 8725 (what to insist on).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from ..errors import BadReplyError, ConfigError, ImageServerError

if TYPE_CHECKING:
    from jwt import PyJWK, PyJWKSet

    from ..net import Net

log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a key pair. Never `none`, and never a shared secret: a public key must not be taken for one."""

_DISCOVERY = (".well-known/openid-configuration", ".well-known/oauth-authorization-server")

_KEYS_LAST = 3600.0
"""Seconds after which the keys are fetched again, so that one that the issuer has withdrawn stops working."""

_STALE_LASTS = 86_400.0
"""Seconds for which known keys do while the issuer cannot be reached."""

_ANEW_AFTER = 10.0
"""Seconds between two fetches for keys we do not know, whoever may send such tokens."""

_LEEWAY = 30
"""Seconds by which clocks may differ."""

_MAX_TOKEN_BYTES = 16_384

_MAX_REPLY_BYTES = 2**20

_MIN_RSA_BITS = 2048
"""RFC 7518 3.3 and 3.5."""


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """What a valid token says about whoever shows it."""

    subject: str
    scopes: frozenset[str]
    roles: frozenset[str]
    team: str | None
    expires_at: int


@dataclass(frozen=True, kw_only=True)
class _Keys:
    keys: PyJWKSet
    fetched_at: float

    def find(self, identity: str | None) -> PyJWK | None:
        """The key of that id; without an id, the only one there is."""
        if identity is None:
            return self.keys.keys[0] if len(self.keys.keys) == 1 else None
        return next((key for key in self.keys.keys if key.key_id == identity), None)


class Issuer:
    """One issuer of tokens.

    Args:
        url: as it stands in the tokens' `iss`.
        audiences: what has to be in `aud`: names for this server.
        jwks_url: where the keys are, where discovery does not tell.
        subject_claim, roles_claim, team_claim: which claims to read; a dot goes one level down, as in `realm_access.roles`.
    """

    def __init__(
        self,
        url: str,
        *,
        audiences: Sequence[str],
        jwks_url: str | None = None,
        subject_claim: str = "sub",
        roles_claim: str = "roles",
        team_claim: str | None = None,
    ) -> None:
        self.url = url
        self._audiences = tuple(audiences)
        self._jwks_url = jwks_url
        self._subject_claim, self._roles_claim, self._team_claim = subject_claim, roles_claim, team_claim
        self._keys: _Keys | None = None
        self._tried_at = float("-inf")
        self._fetching = anyio.Lock()
        self._nets: dict[str, Net] = {}
        """By origin."""

    async def read(self, token: bytes) -> Bearer | None:
        """What the token says; None when it is not one of this issuer's for this server, or no longer.

        Raises:
            ProviderError: the issuer's keys cannot be had, so that nobody can tell.
        """
        import jwt

        if len(token) > _MAX_TOKEN_BYTES:
            return None
        try:
            header = jwt.get_unverified_header(token)
            identity = header.get("kid")
            if header.get("alg") not in ALGORITHMS or not isinstance(identity, str | None):
                return None
            key = await self._key(identity)
            if key is None or not _fits(key, header["alg"]):
                return None
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=self._audiences,
                issuer=(self.url, self.url + "/"),
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        subject = _at(claims, self._subject_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= 256 or not subject.isprintable():
            return None
        team = _at(claims, self._team_claim) if self._team_claim else None
        return Bearer(
            subject=subject,
            scopes=_words(claims.get("scope")) | _words(claims.get("scp")),
            roles=_words(_at(claims, self._roles_claim)),
            team=team if isinstance(team, str) and 0 < len(team) <= 256 and team.isprintable() else None,
            expires_at=int(claims["exp"]),
        )

    async def aclose(self) -> None:
        """Lets go of connections."""
        for net in self._nets.values():
            await net.aclose()

    async def _key(self, identity: str | None) -> PyJWK | None:
        """The issuer's key of that id. A new id is looked up at the issuer, which may have changed its keys."""
        now = time.monotonic()
        known = self._keys.find(identity) if self._keys is not None else None
        if self._keys is not None and known is not None and now - self._keys.fetched_at < _KEYS_LAST:
            return known
        async with self._fetching:
            if time.monotonic() - self._tried_at >= _ANEW_AFTER:
                self._tried_at = time.monotonic()
                try:
                    self._keys = _Keys(keys=await self._fetch(), fetched_at=time.monotonic())
                except ImageServerError as error:
                    log.error("The keys of %s cannot be fetched: %s", self.url, error.message)
                    if self._keys is None:
                        raise
        if self._keys is None or time.monotonic() - self._keys.fetched_at > _STALE_LASTS:
            raise BadReplyError(f"The keys of {self.url} cannot be had.")
        return self._keys.find(identity)

    async def _fetch(self) -> PyJWKSet:
        import jwt

        reply = await self._get(self._jwks_url or await self._discover())
        try:
            return jwt.PyJWKSet.from_dict(reply)
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError) as error:
            raise BadReplyError(f"The issuer {self.url} publishes no keys that we could use: {error}.") from error

    async def _discover(self) -> str:
        """Where the keys are."""
        trouble: ImageServerError | None = None
        for path in _DISCOVERY:
            try:
                found = await self._get(f"{self.url}/{path}")
            except ImageServerError as error:
                trouble = trouble or error
                continue
            if str(found.get("issuer", "")).rstrip("/") != self.url:
                raise ConfigError(f"{self.url} says that it is the issuer {found.get('issuer')!r}; set MCP_OAUTH_ISSUER to that.")
            if isinstance(found.get("jwks_uri"), str):
                return str(found["jwks_uri"])
        raise trouble or BadReplyError(f"{self.url} does not say where its keys are; set MCP_OAUTH_JWKS_URL.")

    async def _get(self, url: str) -> dict[str, Any]:
        from ..net import Net, Service, Timeouts

        origin = "/".join(url.split("/", 3)[:3])  # the keys may be on another host than the issuer, as Google's are
        if origin not in self._nets:
            service = Service(provider="issuer", title=f"The issuer {self.url}", base_url=origin, url_variable="MCP_OAUTH_ISSUER", free=True)
            self._nets[origin] = Net(service, timeouts=Timeouts(connect=5, read=5))
        found = (await self._nets[origin].send("GET", url.removeprefix(origin), max_bytes=_MAX_REPLY_BYTES)).json()
        if not isinstance(found, dict):
            raise BadReplyError(f"{url} answers with something that is no JSON object.")
        return found


def _fits(key: PyJWK, algorithm: str) -> bool:
    """The key is meant for signatures of that kind."""
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
    if key.key_type == "RSA" and key.key.key_size < _MIN_RSA_BITS:
        return False
    stated = key._jwk_data.get("alg")  # noqa: SLF001 - PyJWT fills in an algorithm of its own where the issuer states none
    return key.key_type == kinds[algorithm[:2]] and stated in (None, algorithm) and key.public_key_use in (None, "sig")


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, else what the path leads to."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _words(value: object) -> frozenset[str]:
    """Words, written with spaces or as a list."""
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()
