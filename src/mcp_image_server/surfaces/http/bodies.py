"""What callers send: bodies with a limit, as JSON or as a form with files."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar, get_origin

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ...errors import LimitError, RequestError

MAX_FIELDS = 100
MAX_FILES = 32
MAX_FIELD = 1024 * 1024
"""Bytes of one field that is no file."""

MAX_PROBLEMS = 1000
"""That are told one by one."""

MAX_VALUES = 1_000_000
"""Colons and commas in JSON. A picture in base64 has none, while a body of nothing else becomes a hundred times as large when it is read."""

_LONG = 100_000
"""Bytes of JSON that take long enough to be read beside the event loop."""

T = TypeVar("T", bound=BaseModel)


class Arguments(BaseModel):
    """What a call may say, and nothing else."""

    model_config = ConfigDict(extra="forbid")


async def bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body piece by piece.

    Raises:
        LimitError: it has, or says that it has, more bytes (`payload_too_large`).
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    read = 0
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            read += len(piece)
            if read > limit:
                raise _too_large(limit)
            yield piece


async def read_json(request: Request, kind: type[T], limit: int) -> T:
    """The body as that value.

    Raises:
        RequestError: it is not JSON, or not such a value; the message names each field at fault.
        LimitError: it has more bytes, or too many values.
    """
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise RequestError(f"The body is of the type {media_type!r}; send application/json.", code="unsupported_media_type")
    body = bytearray()
    async for piece in bounded(request, limit):
        body += piece
    if len(body) > MAX_VALUES and body.count(b":") + body.count(b",") > MAX_VALUES:
        raise LimitError(f"The body holds more than {MAX_VALUES:,} values. Divide it.", code="payload_too_large", details={"max_values": MAX_VALUES})
    read = partial(kind.model_validate_json, body or b"{}", strict=True)
    try:
        return await to_thread.run_sync(read) if len(body) > _LONG else read()
    except ValidationError as error:
        raise wrong(error) from None


def is_form(request: Request) -> bool:
    """Whether the body is a form that may hold files."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


async def read_form(request: Request, kind: type[T], limit: int, *, many: Sequence[str] = ()) -> T:
    """The form as that value. A file is its bytes; what is larger than a megabyte waits on disk until it is whole.

    `name[key]` is one entry of the object `name`, and `name[]` is `name`.

    Args:
        many: fields that may come several times.

    Raises:
        RequestError: it is no form, or not such a value.
        LimitError: it has more bytes.
    """
    pieces = bounded(request, limit)
    try:
        async with aclosing(pieces):
            parser = MultiPartParser(request.headers, pieces, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD)
            form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(f"The form cannot be read: {error.message}") from error
    try:
        values = await _values(form, many)
    finally:
        await form.close()
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise wrong(error) from None


async def _values(form: FormData, many: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, value in form.multi_items():
        content = await value.read() if isinstance(value, UploadFile) else value
        name, bracket, key = field.partition("[")
        key = key.removesuffix("]")
        if name in many:
            values.setdefault(name, []).append(content)
        elif bracket and key and isinstance(content, str) and isinstance(values.setdefault(name, {}), dict):
            values[name][key] = _read(content)
        else:
            values[field] = content
    return values


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def read_query(request: Request, kind: type[T]) -> T:
    """What stands behind the `?`, as that value.

    Raises:
        RequestError: it is not such a value.
    """
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        field = kind.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is list:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise wrong(error) from None


def wrong(error: ValidationError) -> RequestError:
    """What is wrong with the arguments, in words."""
    if error.error_count() > MAX_PROBLEMS:  # a list of them would be longer than what was sent
        return RequestError(f"The call cannot be understood. {error.error_count():,} things are wrong with it.")
    problems = [{"field": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors(include_url=False, include_input=False)]
    words = ". ".join(": ".join(filter(None, (each["field"], each["message"]))) for each in problems[:5])
    details: Mapping[str, Any] = {"problems": problems, **({"parameter": problems[0]["field"].partition(".")[0]} if problems[0]["field"] else {})}
    return RequestError(f"The call cannot be understood. {words}.", details=details)


def _too_large(limit: int) -> LimitError:
    return LimitError(
        f"The body has more than {limit:,} bytes. Upload large pictures first (POST /api/v1/uploads) and name them by their id.",
        code="payload_too_large",
        details={"max_bytes": limit},
    )
