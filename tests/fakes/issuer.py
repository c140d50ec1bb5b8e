"""An OAuth issuer: discovery, published keys, and tokens signed with them."""

from __future__ import annotations

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.fakes.server import Server

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_RSA = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


class Issuer:
    """`with Issuer() as issuer:` serves until the block ends."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {"first": _RSA[0]}
        self.down = False
        self.calls: list[str] = []
        routes = [Route("/.well-known/openid-configuration", self._discovery), Route("/keys", self._jwks)]
        self._server = Server(Starlette(routes=routes))

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> Issuer:
        self._server.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._server.__exit__(*exc)

    def rotate(self) -> None:
        """From now on another key signs, and the first is published no more."""
        self.keys = {"second": _RSA[1]}

    def token(self, *, key: str | None = None, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token for `https://art.example/mcp`, good for a minute. A claim that is None is left out."""
        usual = {"iss": self.url, "aud": "https://art.example/mcp", "sub": "u1", "exp": int(time.time()) + 60}
        identity = key or next(iter(self.keys))
        stated = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(stated, self.keys[identity], algorithm=algorithm, headers={"kid": identity, **(headers or {})})

    def jwks(self) -> list[dict[str, Any]]:
        """The keys as they are published."""
        return [{**_jwk(key), "kid": identity, "use": "sig"} for identity, key in self.keys.items()]

    async def _discovery(self, _: Request) -> JSONResponse:
        self.calls.append("discovery")
        return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}, status_code=503 if self.down else 200)

    async def _jwks(self, _: Request) -> JSONResponse:
        self.calls.append("keys")
        return JSONResponse({"keys": self.jwks()}, status_code=503 if self.down else 200)


def _jwk(key: Key) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        return dict(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return dict(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True))
