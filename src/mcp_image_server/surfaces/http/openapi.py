"""The description of the interface in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html), made of the table that the routes are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .endpoints import Endpoint, Reply
from .openai_api import ErrorAnswer
from .problems import PROBLEM, Trouble, at_the_door, openai_error, problem, speaks_openai
from .schemas import Problem

REF = "#/components/schemas/{model}"

ANYWHERE = (403, 408, 413, 415, 421, 429, 500, 503)
"""Statuses of failures that any call may meet; 401 besides, where a token is asked for."""

_FAULT_WORDS = {
    400: "The arguments are wrong, or no model can do it. Or the service's moderation said no.",
    401: "The token is missing or wrong.",
    403: "It is not allowed: to this token, from that page, or by the budget.",
    404: "It does not exist for this caller.",
    408: "The body did not come.",
    409: "It does not go together with what is there.",
    412: "tus is spoken in another version.",
    413: "The body is too large.",
    415: "The body's type is not one that is read here.",
    421: "The host name is not this server's.",
    429: "Too many calls, or the account at the service is used up. `Retry-After` says how long to wait, where that is known.",
    500: "A bug; the server's log has the traceback.",
    502: "The service failed, or its key is wrong.",
    503: "The service, the database or a setting does not work just now.",
    504: "The service took too long.",
}


_EVENTS: dict[str, Any] = {"schema": {"description": "Server-sent events, the data of each JSON in one line."}}


def document(table: Sequence[Endpoint], *, version: str) -> dict[str, Any]:
    """The description of these endpoints, as JSON."""
    models = {model for endpoint in table for model in _models(endpoint)} | {Problem, ErrorAnswer}
    names = sorted(models, key=lambda model: model.__module__ + model.__name__)
    wanted: list[tuple[Any, Literal["validation", "serialization"]]] = [(model, "validation") for model in names]
    refs, schemas = models_json_schema(wanted, by_alias=False, ref_template=REF)
    by_model: dict[Any, Any] = {model: schema for (model, _), schema in refs.items()}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in table:
        path = re.sub(r":\w+}", "}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_model)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Image generation",
            "version": version,
            "summary": "Pictures from many services behind one interface.",
            "description": "`/api/v1` is the server's own interface, `/v1` is OpenAI's image interface over every provider. docs/rest.md has examples.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name} for name in dict.fromkeys(endpoint.tag for endpoint in table)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Where the server has identities; otherwise not needed."}
            },
            "schemas": schemas.get("$defs", {}),
        },
    }


def _models(endpoint: Endpoint) -> Iterable[type[BaseModel]]:
    given = (endpoint.body, endpoint.form, *(reply.model for reply in endpoint.replies.values()))
    return (model for model in given if model is not None)


def _operation(endpoint: Endpoint, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    named = re.sub(r"[^a-z0-9]+", "_", endpoint.path.lower()).strip("_")
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}_{named}",
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint), *_header_parameters(endpoint)],
        "responses": {
            **{str(status): _reply(reply, schemas) for status, reply in endpoint.replies.items()},
            **{str(status): _fault(endpoint, status, schemas) for status in _faults(endpoint)},
        },
    }
    if endpoint.words:
        operation["description"] = endpoint.words
    if content := _content(endpoint, schemas):
        required = endpoint.body is None or any(field.is_required() for field in endpoint.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": content}
    if endpoint.is_open:
        operation["security"] = []
    return operation


def _faults(endpoint: Endpoint) -> list[int]:
    read = {400} if endpoint.query or endpoint.body or endpoint.form else set()
    token = set() if endpoint.is_open else {401}
    return sorted({*ANYWHERE, *endpoint.faults} | read | token)


def _content(endpoint: Endpoint, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if endpoint.body is not None:
        content["application/json"] = {"schema": schemas[endpoint.body]}
    if endpoint.form is not None:
        content["multipart/form-data"] = {"schema": schemas[endpoint.form]}
    if endpoint.raw:
        content[endpoint.raw] = {"schema": {"type": "string", "format": "binary"}}
    return content


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "description": words, "schema": {"type": "string", "minLength": 1}}
        for name, words in endpoint.parameters.items()
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = endpoint.query.model_json_schema()
    definitions = schema.get("$defs", {})
    found = []
    for name, field in schema["properties"].items():
        own = _inlined(field, definitions)
        words = own.pop("description", None)
        own.pop("title", None)
        found.append({"name": name, "in": "query", "schema": own, **({"description": words} if words else {})})
    return found


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    """The schema with what it refers to put in its place: parameters have no definitions of their own."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _inlined(definitions[value["$ref"].rpartition("/")[2]], definitions)
        return {key: _inlined(each, definitions) for key, each in value.items()}
    return [_inlined(each, definitions) for each in value] if isinstance(value, list) else value


def _header_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [{"name": name, "in": "header", "description": words, "schema": {"type": "string"}} for name, words in endpoint.headers.items()]


def _reply(reply: Reply, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": reply.words}
    if reply.model is not None:
        answer["content"] = {reply.media_type: {"schema": schemas[reply.model]}}
    elif reply.media_type != "application/json":
        answer["content"] = {reply.media_type: _EVENTS}
    if reply.streams:
        answer.setdefault("content", {})["text/event-stream"] = _EVENTS
    if reply.headers:
        answer["headers"] = {name: {"description": words, "schema": {"type": "string"}} for name, words in reply.headers.items()}
    return answer


def _fault(endpoint: Endpoint, status: int, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    trouble = at_the_door(status, _FAULT_WORDS[status])
    if status == 404:
        trouble = Trouble(status=404, code="not_found", message=_FAULT_WORDS[404], who="the caller")
    if speaks_openai(endpoint.path):
        content: dict[str, Any] = {"application/json": {"schema": schemas[ErrorAnswer], "example": openai_error(trouble)}}
    else:
        content = {PROBLEM: {"schema": schemas[Problem], "example": problem(trouble)}}
    answer: dict[str, Any] = {"description": f"{HTTPStatus(status).phrase}: {_FAULT_WORDS[status]}", "content": content}
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds to wait, where that is known.", "schema": {"type": "string"}}}
    return answer
