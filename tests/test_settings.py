"""Reading the environment: what wins, what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_image_server.errors import ConfigError
from mcp_image_server.settings import Settings, data_folder, needs_restart, parse, read_environment, save_folder


def test_the_process_wins_over_the_file_unless_told_otherwise(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text('# comment\nexport MCP_PORT=9000\nmcp_host = "::1"\nMCP_LOG_LEVEL=\n', encoding="utf-8")
    process = {"MCP_PORT": "8001", "Path": "/bin"}
    assert read_environment(dotenv, process=process) == {"MCP_PORT": "8001", "PATH": "/bin", "MCP_HOST": "::1"}
    assert read_environment(dotenv, process=process, dotenv_wins=True)["MCP_PORT"] == "9000"
    assert read_environment(tmp_path / "absent", process=process) == {"MCP_PORT": "8001", "PATH": "/bin"}


@pytest.mark.parametrize(
    ("text", "words"),
    [(b'MCP_PORT=1\nB="open\n', "line 2: this is not NAME=value"), (b"MCP_PORT=\xff\xfe\n", "Save it as UTF-8 text")],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: bytes, words: str) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        read_environment(dotenv, process={})
    assert words in caught.value.message
    assert str(dotenv) in caught.value.message


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"MCP_PORT": "0"}, "MCP_PORT: Input should be greater than or equal to 1 (it is '0')."),
        ({"MCP_PORT": "eight"}, "MCP_PORT"),
        ({"MCP_TRANSPORT": "carrier-pigeon"}, "Input should be 'http' or 'stdio'"),
        ({"MCP_ALLOWED_ORIGINS": "https://a.example"}, 'write a JSON list, for example ["https://example.com"]'),
        ({"MCP_PUBLIC_BASE_URL": "images.example.com"}, "starts with http:// or https://"),
        ({"MCP_IMAGE_RECORD_TTL": "0"}, "MCP_IMAGE_RECORD_TTL"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Settings, environment)
    assert words in caught.value.message


def test_a_secret_is_never_shown() -> None:
    settings = parse(Settings, {"MCP_AUTH_TOKEN": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert settings.auth_token is not None
    assert settings.auth_token.get_secret_value() == "hunter2"


def test_names_are_read_in_any_case_and_addresses_lose_their_last_slash() -> None:
    settings = parse(Settings, {"MCP_TRANSPORT": "HTTP", "MCP_LOG_LEVEL": "debug", "MCP_PUBLIC_BASE_URL": "https://a.example/"})
    assert (settings.transport, settings.log_level, settings.public_base_url) == ("http", "DEBUG", "https://a.example")


def test_pictures_go_to_the_working_directory_or_where_the_operator_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert save_folder(parse(Settings, {})) == tmp_path / "generated_images"
    assert save_folder(parse(Settings, {"MCP_IMAGE_SAVE_DIR": "art"})) == tmp_path / "art"
    monkeypatch.chdir("/")
    assert save_folder(parse(Settings, {"MCP_DATA_DIR": str(tmp_path / "data")})) == tmp_path / "data" / "images"


def test_the_history_is_the_users_not_the_working_directorys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    here = data_folder(parse(Settings, {}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert data_folder(parse(Settings, {})) == here
    assert here.is_absolute()


def test_every_setting_says_what_it_is_for() -> None:
    assert {name: bool(info.description) for name, info in Settings.model_fields.items()} == dict.fromkeys(Settings.model_fields, True)
    assert needs_restart("port")
    assert not needs_restart("wait_seconds")
