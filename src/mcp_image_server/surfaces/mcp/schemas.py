"""JSON schemas of the answers that tools give as structured content; the shapes are those of `surfaces.facts`. Refused calls fit them as well."""

from __future__ import annotations

from typing import Any


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": required.split()} if required else {})}


def _or_null(schema: Any) -> dict[str, Any]:
    """A list of types would say the same, but some clients carry schemas over into dialects with one type for each value."""
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer"}
_TEXT_OR_NULL = _or_null(_TEXT)

_IMAGE: dict[str, Any] = {
    "id": _TEXT,
    "provider": _TEXT,
    "model": _TEXT,
    "mime_type": _TEXT,
    "file_name": _TEXT,
    "local_path": _TEXT_OR_NULL,
    "url": _TEXT_OR_NULL,
    "uri": _TEXT,
    "size_bytes": _COUNT,
    "width": _COUNT,
    "height": _COUNT,
    "seed": _COUNT,
    "revised_prompt": _TEXT_OR_NULL,
}
_ERROR = _or_null(_object(code=_TEXT, message=_TEXT, details={"type": "object"}))


def _answer(**properties: Any) -> dict[str, Any]:
    return _object("version ok error", version=_TEXT, ok={"type": "boolean"}, error=_ERROR, **properties)


JOB = _answer(
    images=_list(_object(**_IMAGE)),
    job=_object("id state", id=_TEXT, state=_TEXT, provider=_TEXT, model=_TEXT, progress=_NUMBER, message=_TEXT),
    adjustments=_list(_object("field message", field=_TEXT, message=_TEXT)),
    cost=_object("amount currency source", amount=_NUMBER, currency=_TEXT, source=_TEXT),
    next=_TEXT,
    plan=_object(),
)
"""Of generate_image, get_job and cancel_job."""

TRANSFORMED = _answer(
    images=_list(_object(**_IMAGE)),
    files=_list(_object("path size_bytes", path=_TEXT, mime_type=_TEXT, width=_COUNT, height=_COUNT, size_bytes=_COUNT)),
    job=_object("id state", id=_TEXT, state=_TEXT),
    adjustments=_list(_object("field message", field=_TEXT, message=_TEXT)),
)
"""Of transform_image."""

BATCH = _answer(
    images=_list(_object(**_IMAGE)),
    batch=_object(
        "id state total items",
        id=_TEXT,
        state=_TEXT,
        total=_COUNT,
        progress=_NUMBER,
        items=_list(_object("number state", number=_COUNT, state=_TEXT)),
    ),
    next=_TEXT,
    plan=_object(),
)
"""Of generate_batch."""

IMAGES = _answer(
    images=_list(
        _object(
            **_IMAGE, prompt=_TEXT, job_id=_TEXT, created_at=_TEXT, title=_TEXT, tags=_list(_TEXT), favourite={"type": "boolean"}, shared_with=_TEXT
        )
    )
)
"""Of search_images and manage_images."""

MODELS = _answer(
    result=_object(
        "default_provider providers",
        default_provider=_TEXT,
        providers=_list(_object("provider models", provider=_TEXT, title=_TEXT, default_model=_TEXT, models=_list(_object("model", model=_TEXT)))),
        styles=_object(),
        templates=_object(),
    )
)
"""Of list_models."""
