"""The file of tokens: what it holds, and what becomes of it while the server runs."""

from __future__ import annotations

import os
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mcp_image_server.errors import ConfigError, NotFoundError, RequestError
from mcp_image_server.identity import Token, TokenFile, hash_of, new_token, tokens
from mcp_image_server.models import Allowance


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_LOOK_EVERY", 0)


def entry(name: str, token: str, **facts: object) -> Token:
    return Token.model_validate({"name": name, "sha256": hash_of(token.encode()), **facts})


def test_a_token_is_found_by_what_its_bearer_shows_and_is_nowhere_in_the_file(tmp_path: Path) -> None:
    file, token = TokenFile(tmp_path / "tokens.toml"), new_token()
    alice = entry(
        "alice", token, team="design", roles=["viewer"], jobs=4, images_per_day=0, budget_day=1.25, budget_month=10, created=date(2026, 11, 22)
    )
    file.add(alice)
    file.add(entry("bob", new_token()))
    assert file.find(token.encode()) == alice
    assert file.find(token.encode() + b"x") is None
    assert file.find(b"") is None
    assert alice.allowance == Allowance(jobs=4, images_per_day=0, budget_day=1_250_000, budget_month=10_000_000)
    text = file.path.read_text()
    assert token not in text
    assert text.splitlines()[:9] == [
        "[[token]]",
        'name = "alice"',
        f'sha256 = "{hash_of(token.encode())}"',
        "created = 2026-11-22",
        'roles = ["viewer"]',
        'team = "design"',
        "jobs = 4",
        "images_per_day = 0",
        "budget_day = 1.250",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
def test_the_file_is_for_the_user_alone(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "deep" / "tokens.toml")
    file.add(entry("alice", new_token()))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_tokens_that_are_made_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    path, start = tmp_path / "tokens.toml", threading.Barrier(8)

    def make(number: int) -> None:
        start.wait()
        TokenFile(path).add(entry(f"user{number}", new_token()))  # what another process knows of the file is the file alone

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(8)))
    assert {token.name for token in TokenFile(path).all()} == {f"user{number}" for number in range(8)}


def test_a_revoked_token_opens_nothing_and_what_people_wrote_stays(tmp_path: Path) -> None:
    file, kept, gone = TokenFile(tmp_path / "tokens.toml"), new_token(), new_token()
    file.path.write_text("# ours\n")
    file.add(entry("alice", gone))
    file.add(entry("bob", kept))
    with file.path.open("a") as text:
        text.write("# bob comes on Mondays\n")
    assert file.find(gone.encode()) is not None
    file.remove("alice")
    assert file.find(gone.encode()) is None
    assert file.find(kept.encode()) is not None
    assert "# ours" in file.path.read_text()
    assert "# bob comes on Mondays" in file.path.read_text()
    with pytest.raises(NotFoundError):
        file.remove("alice")


def test_a_token_that_has_run_out_opens_nothing(tmp_path: Path) -> None:
    file, today = TokenFile(tmp_path / "tokens.toml"), datetime.now(UTC).date()
    old, new = new_token(), new_token()
    file.add(entry("old", old, expires=today))
    file.add(entry("new", new, expires=today + timedelta(days=2)))
    assert (file.find(old.encode()), file.find(new.encode()) is not None) == (None, True)


def test_names_are_unique_and_not_the_servers_own(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.toml")
    file.add(entry("alice", new_token()))
    for name in ("alice", "local", "guest"):
        with pytest.raises(RequestError):
            file.add(entry(name, new_token()))
    assert [each.name for each in file.all()] == ["alice"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[token]", "is no TOML"),
        ('[[token]]\nname = "a"\n', "sha256: Field required"),
        ('[[token]]\nname = "a"\nsha256 = "x"\n', "String should match"),
        (f'[[token]]\nname = "A b"\nsha256 = "{"0" * 64}"\n', "name: String should match"),
        (f'[[token]]\nname = "a"\nsha256 = "{"0" * 64}"\nadmin = true\n', "admin: Extra inputs"),
        (f'[[token]]\nname = "a"\nsha256 = "{"0" * 64}"\nroles = ["root"]\n', "roles"),
        (f'[[token]]\nname = "local"\nsha256 = "{"0" * 64}"\n', "'local' is a name that the server uses itself"),
        (f'[[token]]\nname = "a"\nsha256 = "{"0" * 64}"\n' * 2, "the name 'a' stands there twice"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_at_the_start(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        TokenFile(path).all()
    assert words in caught.value.message
    assert str(path) in caught.value.message


def test_a_mistake_made_while_the_server_runs_locks_nobody_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, token = TokenFile(tmp_path / "tokens.toml"), new_token()
    file.add(entry("alice", token))
    assert file.find(token.encode()) is not None
    before = file.path.read_text()
    file.path.write_text(before + "[[token]\n")
    assert file.find(token.encode()) is not None
    assert "The tokens of before still hold" in caplog.text
    file.path.write_text(before.replace("alice", "alicia"))
    os.utime(file.path, ns=(1, 1))
    found = file.find(token.encode())
    assert found is not None
    assert found.name == "alicia"


def test_without_its_file_no_token_opens_anything(tmp_path: Path) -> None:
    file, token = TokenFile(tmp_path / "tokens.toml"), new_token()
    file.add(entry("alice", token))
    assert file.find(token.encode()) is not None
    file.path.unlink()
    assert file.find(token.encode()) is None


def test_a_file_of_other_programs_is_read_as_well(tmp_path: Path) -> None:
    """Windows' editor writes a mark before the first letter and two characters at the end of a line, and TOML lets one write spaces."""
    file = TokenFile(tmp_path / "tokens.toml")
    blocks = [f'[[ token ]]\r\nname = "{name}"\r\nsha256 = "{hash_of(name.encode())}"\r\n' for name in ("alice", "bob", "carol")]
    file.path.write_bytes(b"\xef\xbb\xbf" + "".join(blocks).encode())
    assert [token.name for token in file.all()] == ["alice", "bob", "carol"]
    file.remove("bob")
    assert [token.name for token in file.all()] == ["alice", "carol"]
    assert file.find(b"bob") is None
