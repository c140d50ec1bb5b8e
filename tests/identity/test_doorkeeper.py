"""Who is let in, and what becomes of those who guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_image_server.errors import ConfigError, StorageError
from mcp_image_server.identity import Doorkeeper, Forbidden, Token, TokenFile, TooMany, Unknown, hash_of
from mcp_image_server.identity.doorkeeper import FAILURES
from mcp_image_server.models import Allowance, Caller
from mcp_image_server.settings import Settings, parse
from tests.fakes.issuer import Issuer

pytestmark = pytest.mark.anyio

HOME = "192.0.2.7"


def doorkeeper(**environment: str) -> Doorkeeper:
    return Doorkeeper(parse(Settings, environment), resources=("https://art.example/mcp",))


def with_tokens(path: Path, *entries: Token) -> str:
    file = TokenFile(path / "tokens.toml")
    for entry in entries:
        file.add(entry)
    return str(file.path)


def token_of(name: str, token: bytes, **facts: object) -> Token:
    return Token.model_validate({"name": name, "sha256": hash_of(token), **facts})


async def test_without_identities_everybody_is_the_user_of_this_machine() -> None:
    assert await doorkeeper().admit(None, HOME) == Caller()
    assert await doorkeeper().admit(b"anything", HOME) == Caller()


async def test_each_token_is_somebody(tmp_path: Path) -> None:
    path = with_tokens(tmp_path, token_of("alice", b"a", team="design", jobs=2), token_of("boss", b"b", roles=["admin"]))
    door = doorkeeper(
        MCP_AUTH_TOKEN="first", MCP_TOKENS_FILE=path, MCP_PRINCIPAL_JOBS="5", MCP_PRINCIPAL_IMAGES_DAY="9", MCP_BUDGET_PRINCIPAL_DAY="1"
    )
    usual = Allowance(jobs=5, images_per_day=9, budget_day=1_000_000)
    assert await door.admit(b"first", HOME) == Caller(allowance=usual)
    assert await door.admit(b"b", HOME) == Caller(principal="boss", allowance=usual)
    assert await door.admit(b"a", HOME) == Caller(
        principal="alice", roles=frozenset(), team="design", allowance=Allowance(jobs=2, images_per_day=9, budget_day=1_000_000)
    )
    for token, shown in ((None, False), (b"", False), (b"c", True), (b"\xc3\xa9", True)):
        with pytest.raises(Unknown) as caught:
            await door.admit(token, HOME)
        assert caught.value.shown is shown


async def test_an_issuers_subject_is_never_somebody_of_the_file(tmp_path: Path) -> None:
    with Issuer() as issuer:
        path = with_tokens(tmp_path, token_of("alice", b"a"))
        door = doorkeeper(MCP_OAUTH_ISSUER=issuer.url, MCP_TOKENS_FILE=path, MCP_OAUTH_TEAM_CLAIM="team", MCP_OAUTH_SCOPES='["draw"]')
        found = await door.admit(issuer.token(sub="alice", team="design", scope="draw other", roles=["admin", "x"]).encode(), HOME)
        assert found == Caller(principal="oidc:alice", roles=frozenset({"admin"}), team="oidc:design")
        with pytest.raises(Forbidden) as caught:
            await door.admit(issuer.token(scope="other").encode(), HOME)
        assert caught.value.scopes == ("draw",)
        await door.aclose()


def test_an_issuer_needs_to_know_for_whom_its_tokens_are() -> None:
    with pytest.raises(ConfigError, match="MCP_PUBLIC_BASE_URL"):
        Doorkeeper(parse(Settings, {"MCP_OAUTH_ISSUER": "https://issuer.example"}))


async def test_who_guesses_is_not_listened_to_and_who_was_known_is() -> None:
    door = doorkeeper(MCP_AUTH_TOKEN="right")
    assert (await door.admit(b"right", HOME)).is_admin
    for number in range(FAILURES):
        with pytest.raises(Unknown):
            await door.admit(f"wrong {number}".encode(), HOME)
    with pytest.raises(TooMany) as caught:
        await door.admit(b"wrong again", HOME)
    assert 0 < caught.value.seconds <= 61
    assert (await door.admit(b"right", HOME)).is_admin
    with pytest.raises(Unknown):
        await door.admit(b"wrong", "192.0.2.8")


async def test_a_right_guess_is_not_told_to_who_guessed_too_often() -> None:
    door = doorkeeper(MCP_AUTH_TOKEN="right")
    for number in range(FAILURES):
        with pytest.raises(Unknown):
            await door.admit(f"wrong {number}".encode(), "2001:db8::1")
    with pytest.raises(TooMany):
        await door.admit(b"right", "2001:db8::ffff")  # the same /64


async def test_requests_are_counted_for_each_principal() -> None:
    door = doorkeeper(MCP_AUTH_TOKEN="t")
    alice = Caller(principal="alice", allowance=Allowance(requests_per_minute=2))
    standings = [await door.count(alice) for _ in range(3)]
    assert [(standing.allowed, standing.limit, standing.remaining) for standing in standings if standing] == [
        (True, 2, 1),
        (True, 2, 0),
        (False, 2, 0),
    ]
    other = await door.count(Caller(principal="bob", allowance=Allowance(requests_per_minute=2)))
    assert other is not None
    assert other.allowed
    assert await door.count(Caller()) is None


async def test_while_the_others_cannot_be_asked_each_server_counts_alone() -> None:
    asked: list[tuple[str, int]] = []

    async def together(principal: str, most: int) -> tuple[bool, int, int]:
        asked.append((principal, most))
        if len(asked) == 2:
            raise StorageError("The database is away.")
        return False, 0, 7

    door = Doorkeeper(parse(Settings, {"MCP_AUTH_TOKEN": "t"}), together=together)
    alice = Caller(principal="alice", allowance=Allowance(requests_per_minute=2))
    standings = [await door.count(alice) for _ in range(3)]
    assert [(standing.allowed, standing.remaining) for standing in standings if standing] == [(False, 0), (True, 1), (True, 0)]
    assert asked == [("alice", 2)] * 2
