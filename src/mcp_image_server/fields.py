"""What a setting may hold: amounts, keys, addresses, lists, and how each is written in a variable."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator


def json_object(example: str) -> BeforeValidator:
    """For a field that is written as a JSON object, such as the example."""
    return BeforeValidator(lambda value: _read_json(value, dict, f"a JSON object, for example {example}"))


def json_list(example: str) -> BeforeValidator:
    """For a field that is written as a JSON list, such as the example."""
    return BeforeValidator(lambda value: _read_json(value, list, f"a JSON list, for example {example}"))


def _read_json(value: object, kind: type, words: str) -> object:
    if not isinstance(value, str):
        return value
    import json

    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, kind):
        raise ValueError(f"write {words}")
    return found


def _absolute_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("write an absolute address that starts with http:// or https://")
    return value.rstrip("/")


def _fits_a_header(value: object) -> object:
    if not isinstance(value, str):
        return value
    value = value.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("it holds spaces, line ends or letters that no such value has; copy it again")
    return value


HeaderValue = Annotated[str, BeforeValidator(_fits_a_header)]
"""A value that goes into a header as it stands; what a careless copy left around it is taken off."""

Key = Annotated[SecretStr, BeforeValidator(_fits_a_header)]
"""A key or token for a header, never shown."""


def _micros(value: object) -> object:
    """An amount of money as people write it, exactly, in millionths."""
    if not isinstance(value, str):
        return value
    from decimal import Decimal, InvalidOperation

    try:
        amount = Decimal(value.strip())
    except InvalidOperation:
        raise ValueError("write an amount such as 5 or 0.50") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError("write an amount of 0 or more")
    return int(amount * 1_000_000)


def _currency(value: str) -> str:
    code = value.strip().upper()
    if not re.fullmatch("[A-Z]{3}", code):
        raise ValueError("write a code of three letters such as USD")
    return code


def _database_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value.strip())
        known = parts.scheme in ("postgresql", "postgres") and (parts.hostname or "host=" in parts.query) and len(parts.path) > 1 and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("write postgresql://user:password@host:5432/database; special characters of the password as %40 and the like")
    return value.strip()


DatabaseUrl = Annotated[SecretStr, BeforeValidator(_database_url)]
"""The address of a PostgreSQL database, never shown, since a password stands in it."""


def _store_url(value: str) -> str:
    if not re.match(r"[a-z][a-z0-9+]*://", value.strip()):
        raise ValueError("write an address such as s3://bucket/prefix")
    return value.strip().rstrip("/")


StoreUrl = Annotated[str, AfterValidator(_store_url)]
"""The address of a place for pictures."""

JsonList = Annotated[tuple[str, ...], json_list('["https://example.com"]')]
"""Texts, written as a JSON list."""

Micros = Annotated[int, BeforeValidator(_micros)]
"""Money in millionths, written as an amount."""

Currency = Annotated[str, AfterValidator(_currency)]
"""A code of ISO 4217."""

BaseUrl = Annotated[str, AfterValidator(_absolute_url)]
"""An absolute address, without a slash at its end."""


class _Part(BaseModel):
    """One value in the JSON object of a setting."""

    model_config = ConfigDict(frozen=True)
    example: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(f"write a JSON object, for example {cls.example}")
        if unknown := value.keys() - cls.model_fields.keys():
            raise ValueError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(cls.model_fields)}")
        return value


class ClientChanges(_Part):
    """What the operator knows better of one client; `policy.clients` tells what the fields mean. What is absent stays as it is."""

    example = '{"wait_seconds": 20}'

    wait_seconds: float | None = Field(None, ge=0, le=3600)
    structured: bool | None = None
    previews: int | None = Field(None, ge=0, le=10)
    preview_edge: int | None = Field(None, ge=16, le=2048)
    preview_bytes: int | None = Field(None, ge=1000, le=400_000)
    links: Literal["uri", "url", "path"] | None = None


class OwnPrice(_Part):
    """What the operator says a picture costs."""

    example = '{"amount": 0.05, "currency": "USD"}, or the amount alone'

    amount: float = Field(ge=0, allow_inf_nan=False)
    currency: Currency | None = None
    """None: that of the budgets."""
    per: Literal["image", "megapixel"] = "image"

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"amount": value}
        return value


class OwnLimits(_Part):
    """What the operator says an account may have; None leaves what is known."""

    example = '{"concurrent": 8}'

    concurrent: int | None = Field(None, ge=1)
    per_second: float | None = Field(None, ge=0.01, allow_inf_nan=False)
    images_per_minute: int | None = Field(None, ge=1)
