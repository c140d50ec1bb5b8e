"""Tokens of an issuer: which are taken, which are not, and what keys that costs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mcp_image_server.errors import ProviderError
from mcp_image_server.identity import issuer as module
from mcp_image_server.identity.issuer import Bearer, Issuer
from tests.fakes.issuer import Issuer as Fake

pytestmark = pytest.mark.anyio

HERE = ("https://art.example", "https://art.example/mcp")


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        yield server


@pytest.fixture
async def issuer(fake: Fake) -> AsyncIterator[Issuer]:
    found = Issuer(fake.url, audiences=HERE, roles_claim="realm_access.roles", team_claim="team")
    yield found
    await found.aclose()


async def test_a_good_token_says_who_its_bearer_is(fake: Fake, issuer: Issuer) -> None:
    expires = int(time.time()) + 30
    token = fake.token(scope="images:read images:write", realm_access={"roles": ["admin", 7]}, team="design", exp=expires)
    assert await issuer.read(token.encode()) == Bearer(
        subject="u1", scopes=frozenset({"images:read", "images:write"}), roles=frozenset({"admin"}), team="design", expires_at=expires
    )


async def test_the_keys_are_fetched_once(fake: Fake, issuer: Issuer) -> None:
    for _ in range(5):
        assert await issuer.read(fake.token().encode()) is not None
    assert fake.calls == ["discovery", "keys"]


async def test_a_new_key_is_learned_and_the_withdrawn_one_is_forgotten(fake: Fake, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fake.token()
    assert await issuer.read(old.encode()) is not None
    fake.rotate()
    assert await issuer.read(fake.token().encode()) is None, "asked again only some seconds later, whoever sends such tokens"
    monkeypatch.setattr(module, "_ANEW_AFTER", 0)
    assert await issuer.read(fake.token().encode()) is not None
    assert await issuer.read(old.encode()) is None


async def test_known_keys_do_while_the_issuer_is_down(fake: Fake, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = fake.token().encode()
    assert await issuer.read(token) is not None
    fake.down = True
    monkeypatch.setattr(module, "_KEYS_LAST", 0)
    monkeypatch.setattr(module, "_ANEW_AFTER", 0)
    assert await issuer.read(token) is not None


async def test_without_keys_nobody_can_tell(fake: Fake, issuer: Issuer) -> None:
    fake.down = True
    with pytest.raises(ProviderError):
        await issuer.read(fake.token().encode())


WRONG: dict[str, dict[str, Any]] = {
    "for another server": {"aud": "https://other.example/mcp"},
    "for nobody": {"aud": None},
    "from another issuer": {"iss": "https://evil.example"},
    "expired": {"exp": 1},
    "without an end": {"exp": None},
    "not yet good": {"nbf": 4102444800},
    "issued to nobody": {"sub": None},
    "issued to nothing": {"sub": ""},
    "issued to control characters": {"sub": "a\nb"},
    "issued to a list": {"sub": ["u1"]},
    "issued to a number": {"sub": 7},
    "with an end that is no number": {"exp": "soon"},
    "with an end that cannot be counted": {"exp": float("inf")},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
async def test_a_token_with_wrong_claims_opens_nothing(fake: Fake, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert await issuer.read(_signed(fake, {})) is not None
    assert await issuer.read(_signed(fake, claims)) is None


async def test_forged_tokens_open_nothing(fake: Fake, issuer: Issuer) -> None:
    good = fake.token()
    head, body, signature = good.split(".")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = fake.keys["first"].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": fake.url, "aud": HERE[1], "sub": "u1", "exp": int(time.time()) + 60}
    forged = {
        "another key under a known id": jwt.encode(claims, other, algorithm="RS256", headers={"kid": "first"}),
        "an unknown id": jwt.encode(claims, other, algorithm="RS256", headers={"kid": "mine"}),
        "no signature": jwt.encode(claims, "", algorithm="none"),
        "no signature, with an id": jwt.encode(claims, "", algorithm="none", headers={"kid": "first"}),
        "the public key as a shared secret": _hs256(claims, public),
        "its own key": jwt.encode(
            claims, other, algorithm="RS256", headers={"kid": "first", "jwk": {"kty": "RSA"}, "jku": "http://evil.example/keys"}
        ),
        "changed claims": ".".join((head, _b64(json.dumps({**claims, "sub": "admin"}).encode()), signature)),
        "cut off": good[:-3],
        "an id that is no text": f"{_b64(json.dumps({'alg': 'RS256', 'kid': ['first']}).encode())}.{body}.{signature}",
        "empty parts": "..",
        "letters outside ASCII": "é.é.é",
        "endless": good + "A" * 20_000,
        "a deep header": f"{_b64(b'[' * 4000)}.{body}.{signature}",
    }
    for what, token in forged.items():
        assert await issuer.read(token.encode()) is None, what
    assert await issuer.read(good.encode()) is not None


async def test_a_key_of_another_kind_is_not_used(fake: Fake, issuer: Issuer) -> None:
    fake.keys["curve"] = ec.generate_private_key(ec.SECP256R1())
    assert await issuer.read(fake.token(key="curve", algorithm="ES256").encode()) is not None
    head = _b64(json.dumps({"alg": "RS256", "kid": "curve"}).encode())
    assert await issuer.read(f"{head}.{fake.token().split('.', 1)[1]}".encode()) is None


async def test_a_key_that_is_too_short_signs_nothing(fake: Fake, issuer: Issuer) -> None:
    fake.keys = {"first": rsa.generate_private_key(public_exponent=65537, key_size=1024)}
    assert await issuer.read(_signed(fake, {})) is None


async def test_an_issuer_that_calls_itself_otherwise_is_refused(fake: Fake) -> None:
    liar = Issuer(fake.url.replace("127.0.0.1", "localhost"), audiences=HERE)
    with pytest.raises(Exception, match="set MCP_OAUTH_ISSUER to that"):
        await liar.read(fake.token().encode())
    await liar.aclose()


def _signed(fake: Fake, claims: dict[str, Any]) -> bytes:
    """Signed by hand: the library would not write some of them."""
    (identity, key), *_ = fake.keys.items()
    assert isinstance(key, rsa.RSAPrivateKey)
    usual = {"iss": fake.url, "aud": HERE[1], "sub": "u1", "exp": int(time.time()) + 60}
    whole = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    signing = f"{_b64(json.dumps({'alg': 'RS256', 'kid': identity}).encode())}.{_b64(json.dumps(whole).encode())}"
    return f"{signing}.{_b64(key.sign(signing.encode(), padding.PKCS1v15(), hashes.SHA256()))}".encode()


def _hs256(claims: dict[str, Any], secret: bytes) -> str:
    signing = f"{_b64(json.dumps({'alg': 'HS256', 'kid': 'first'}).encode())}.{_b64(json.dumps(claims).encode())}"
    import hashlib
    import hmac

    return f"{signing}.{_b64(hmac.new(secret, signing.encode(), hashlib.sha256).digest())}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
