"""Reading the environment: what wins, what is refused, and how it is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcp_image_server.configuration import Configuration, read_environment
from mcp_image_server.errors import ConfigError
from mcp_image_server.fields import OwnLimits, OwnPrice
from mcp_image_server.settings import Settings, data_folder, database_words, needs_restart, parse, record_place, save_folder


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


@pytest.mark.parametrize(
    ("name", "written", "field", "value"),
    [
        ("MCP_LIMITS", '{"openai": {"concurrent": 8}}', "limits", {"openai": OwnLimits(concurrent=8, per_second=None, images_per_minute=None)}),
        (
            "MCP_LIMITS",
            '{"bfl": {"per_second": 0.5, "images_per_minute": 50}}',
            "limits",
            {"bfl": OwnLimits(concurrent=None, per_second=0.5, images_per_minute=50)},
        ),
        ("MCP_PRICES", '{"modelscope": 0}', "prices", {"modelscope": OwnPrice(amount=0, currency=None, per="image")}),
        (
            "MCP_PRICES",
            '{"fal/flux": {"amount": 0.05, "currency": "eur", "per": "megapixel"}}',
            "prices",
            {"fal/flux": OwnPrice(amount=0.05, currency="EUR", per="megapixel")},
        ),
        ("MCP_BUDGET_CURRENCY", " cny ", "budget_currency", "CNY"),
        ("MCP_CURRENCY_RATES", '{"usd": 7.1, "EUR": 8}', "currency_rates", {"USD": 7.1, "EUR": 8.0}),
        ("MCP_BUDGET_DAY", "0.10", "budget_day", 100_000),
        ("MCP_BUDGET_DAY", "0", "budget_day", 0),
        ("MCP_BUDGET_MONTH", "123456789.123456", "budget_month", 123_456_789_123_456),
        ("MCP_BUDGET_PRINCIPAL_DAY", " 5 ", "budget_principal_day", 5_000_000),
        ("MCP_BUDGET_PRINCIPAL_MONTH", "1e2", "budget_principal_month", 100_000_000),
        ("MCP_CONFIRM_ABOVE", "0.29", "confirm_above", 290_000),
        ("MCP_FALLBACK", '{"openai": ["doubao", "any"], "*": []}', "fallback", {"openai": ("doubao", "any"), "*": ()}),
        ("MCP_ROUTING", "auto", "routing", "auto"),
        ("MCP_RETRIES", "0", "retries", 0),
        ("MCP_JOIN_AFTER", "0.5", "join_after", 0.5),
    ],
)
def test_limits_money_and_fallback_are_read_as_they_are_written(name: str, written: str, field: str, value: object) -> None:
    assert getattr(parse(Settings, {name: written}), field) == value


def test_without_them_nothing_is_limited_and_nobody_draws_instead() -> None:
    settings = parse(Settings, {})
    assert (settings.limits, settings.prices, settings.currency_rates, settings.fallback) == ({}, {}, {}, {})
    assert (settings.budget_day, settings.budget_month, settings.budget_principal_day, settings.budget_principal_month) == (None,) * 4
    assert (settings.confirm_above, settings.budget_currency, settings.routing) == (None, "USD", "order")
    assert (settings.retries, settings.join_after) == (3, 3)


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("MCP_LIMITS", "8", 'MCP_LIMITS: write a JSON object, for example {"openai": {"concurrent": 8}} (it is \'8\').'),
        ("MCP_LIMITS", '{"openai": 8}', 'MCP_LIMITS → openai: write a JSON object, for example {"concurrent": 8}.'),
        (
            "MCP_LIMITS",
            '{"openai": {"concurent": 8}}',
            "MCP_LIMITS → openai: there is no concurent; there are concurrent, per_second, images_per_minute.",
        ),
        ("MCP_LIMITS", '{"openai": {"concurrent": 0}}', "MCP_LIMITS → openai → concurrent: Input should be greater than or equal to 1."),
        ("MCP_LIMITS", '{"openai": {"per_second": 0.001}}', "MCP_LIMITS → openai → per_second: Input should be greater than or equal to 0.01."),
        ("MCP_LIMITS", '{"openai": {"per_second": Infinity}}', "MCP_LIMITS → openai → per_second: Input should be a finite number."),
        ("MCP_LIMITS", '{"openai": {"images_per_minute": 1.5}}', "MCP_LIMITS → openai → images_per_minute: Input should be a valid integer"),
        ("MCP_PRICES", "free", "MCP_PRICES: write a JSON object, for example {\"modelscope\": 0} (it is 'free')."),
        (
            "MCP_PRICES",
            '{"openai": "cheap"}',
            'MCP_PRICES → openai: write a JSON object, for example {"amount": 0.05, "currency": "USD"}, or the amount alone (it is \'cheap\').',
        ),
        ("MCP_PRICES", '{"openai": true}', "MCP_PRICES → openai: write a JSON object"),
        ("MCP_PRICES", '{"openai": -1}', "MCP_PRICES → openai → amount: Input should be greater than or equal to 0."),
        ("MCP_PRICES", '{"openai": NaN}', "MCP_PRICES → openai → amount: Input should be"),
        ("MCP_PRICES", '{"openai": {"currency": "USD"}}', "MCP_PRICES → openai → amount: Field required."),
        (
            "MCP_PRICES",
            '{"openai": {"amount": 1, "per": "page"}}',
            "MCP_PRICES → openai → per: Input should be 'image' or 'megapixel' (it is 'page').",
        ),
        (
            "MCP_PRICES",
            '{"openai": {"amount": 1, "currency": "dollars"}}',
            "MCP_PRICES → openai → currency: write a code of three letters such as USD (it is 'dollars').",
        ),
        ("MCP_BUDGET_CURRENCY", "$", "MCP_BUDGET_CURRENCY: write a code of three letters such as USD (it is '$')."),
        ("MCP_CURRENCY_RATES", "0.14", "MCP_CURRENCY_RATES: write a JSON object, for example {\"CNY\": 0.14} (it is '0.14')."),
        ("MCP_CURRENCY_RATES", '{"CNY": 0}', "MCP_CURRENCY_RATES → CNY: Input should be greater than 0."),
        ("MCP_CURRENCY_RATES", '{"yuan": 0.14}', "MCP_CURRENCY_RATES → yuan → [key]: write a code of three letters such as USD (it is 'yuan')."),
        ("MCP_BUDGET_DAY", "five", "MCP_BUDGET_DAY: write an amount such as 5 or 0.50 (it is 'five')."),
        ("MCP_BUDGET_DAY", "5 USD", "MCP_BUDGET_DAY: write an amount such as 5 or 0.50 (it is '5 USD')."),
        ("MCP_BUDGET_MONTH", "-1", "MCP_BUDGET_MONTH: write an amount of 0 or more (it is '-1')."),
        ("MCP_BUDGET_PRINCIPAL_DAY", "inf", "MCP_BUDGET_PRINCIPAL_DAY: write an amount of 0 or more (it is 'inf')."),
        ("MCP_BUDGET_PRINCIPAL_MONTH", "nan", "MCP_BUDGET_PRINCIPAL_MONTH: write an amount of 0 or more (it is 'nan')."),
        ("MCP_CONFIRM_ABOVE", "1,5", "MCP_CONFIRM_ABOVE: write an amount such as 5 or 0.50 (it is '1,5')."),
        ("MCP_FALLBACK", '["doubao"]', 'MCP_FALLBACK: write a JSON object, for example {"openai": ["doubao"]} (it is \'["doubao"]\').'),
        ("MCP_FALLBACK", '{"openai": "doubao"}', "MCP_FALLBACK → openai: Input should be a valid tuple (it is 'doubao')."),
        ("MCP_ROUTING", "best", "MCP_ROUTING: Input should be 'order' or 'auto' (it is 'best')."),
        ("MCP_RETRIES", "11", "MCP_RETRIES: Input should be less than or equal to 10 (it is '11')."),
        ("MCP_JOIN_AFTER", "inf", "MCP_JOIN_AFTER: Input should be less than or equal to 86400 (it is 'inf')."),
    ],
)
def test_limits_money_and_fallback_that_are_wrong_are_named_with_what_would_be_right(name: str, written: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Settings, {name: written})
    assert caught.value.message.startswith(f"Settings are wrong. {words}")


@pytest.mark.parametrize(
    ("name", "written", "wrong"),
    [
        ("MCP_LIMITS", '{"open-ai": {"concurrent": 8}}', "open-ai"),
        ("MCP_LIMITS", '{"*": {"concurrent": 8}}', "*"),
        ("MCP_PRICES", '{"openai": 1, "duobao/seedream": 1}', "duobao/seedream"),
        ("MCP_FALLBACK", '{"OpenAI": ["doubao"]}', "OpenAI"),
        ("MCP_FALLBACK", '{"*": ["duobao"]}', "duobao"),
    ],
)
def test_a_provider_that_is_misspelt_in_a_setting_is_named_with_those_there_are(name: str, written: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} names {re.escape(repr(wrong))}; there are: hunyuan, openai, .*, sketch\.$"):
        Configuration.read({name: written})


def test_providers_may_be_named_in_settings_before_they_are_configured() -> None:
    environment = {
        "MCP_LIMITS": '{"openai": {"concurrent": 8}}',
        "MCP_PRICES": '{"fal/flux": 1}',
        "MCP_FALLBACK": '{"*": ["any"], "openai": ["doubao/seedream", "none"]}',
    }
    assert Configuration.read(environment).settings == parse(Settings, environment)


def test_a_secret_is_never_shown() -> None:
    settings = parse(Settings, {"MCP_AUTH_TOKEN": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert settings.auth_token is not None
    assert settings.auth_token.get_secret_value() == "hunter2"


@pytest.mark.parametrize("url", ["postgresql://mcp:hunter2@db:5432/pictures?sslmode=require", "postgres://mcp:hunter2@db/pictures"])
def test_a_database_is_named_without_its_password(url: str) -> None:
    settings = parse(Settings, {"MCP_DATABASE_URL": url})
    assert "hunter2" not in repr(settings)
    assert record_place(settings) == url
    assert database_words(url) in ("db:5432/pictures", "db/pictures")


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match="MCP_IMPROVE_URL: write an absolute address") as caught:
        parse(Settings, {"MCP_IMPROVE_URL": "user:hunter2@host/v1"})
    assert "hunter2" not in f"{caught.value} {caught.value.details}"


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "postgresql://u:hunter2@h", "postgresql://u:hunter2@h:x/d", "hunter2"])
def test_what_names_no_database_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="MCP_DATABASE_URL: write postgresql://user:password@host:5432/database") as caught:
        parse(Settings, {"MCP_DATABASE_URL": url})
    assert "hunter2" not in str(caught.value)


def test_an_object_store_is_named_by_an_address() -> None:
    assert parse(Settings, {"MCP_STORE_URL": "s3://bucket/prefix/"}).store_url == "s3://bucket/prefix"
    with pytest.raises(ConfigError, match=r"MCP_STORE_URL: write an address such as s3://bucket/prefix \(it is 'bucket'\)"):
        parse(Settings, {"MCP_STORE_URL": "bucket"})


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
