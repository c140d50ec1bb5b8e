"""Uploads over HTTP: a link that takes bytes without a token, whole with PUT, or piece by piece as tus 1.0.0 has it (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from email.utils import format_datetime
from functools import partial
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...errors import RequestError
from ...models import MAX_PICTURE_BYTES
from ...models.uploads import Upload
from ...studio import Studio
from ..facts import found_facts
from .bodies import Arguments, bounded
from .endpoints import Call, Endpoint, Reply
from .links import UPLOAD_LINKS, base_of, seen
from .schemas import FoundImage

TUS = "1.0.0"
PIECES = "application/offset+octet-stream"


class NewUpload(Arguments):
    """A picture that is to be sent."""

    length: int | None = Field(None, ge=1, description="Bytes of the whole, where they are known. Needed to send it piece by piece.")
    name: str = Field("", max_length=200, description="Kept as the image's prompt, so that it is found by it.", examples=["cat.png"])


class Proof(BaseModel):
    """What makes the link one that we gave out."""

    key: str = Field("", max_length=200, description="As it stands in the link.")


class UploadAnswer(BaseModel):
    """An upload."""

    id: str
    url: str | None = Field(None, description="Where the bytes are sent to, with PUT or as tus has it. Told once.")
    length: int | None = None
    offset: int = Field(description="Bytes that are here.")
    max_bytes: int
    expires_at: str
    image_id: str | None = Field(None, description="The image that came of it; it can be given wherever an image is taken.")


def endpoints(studio: Studio) -> list[Endpoint]:
    """What begins uploads, and the links that take them."""
    api = _Api(studio)
    upload = partial(Endpoint, tag="Uploads", parameters={"upload_id": "Id of an upload."})
    one = partial(upload, path="/api/v1/uploads/{upload_id}")
    link = partial(upload, path=UPLOAD_LINKS + "{upload_id}", query=Proof, is_open=True)
    every = partial(Endpoint, path="/api/v1/uploads", tag="Uploads")
    thrown = {204: Reply(words="It is gone.")}
    standing = {"Upload-Offset": "Bytes that are here.", "Tus-Resumable": TUS}
    return [
        every(
            method="POST",
            summary="Get a link that takes a picture",
            words="Whoever has the link may send to it without a token until it expires. Clients of tus send `Upload-Length` and `Upload-Metadata` and no body.",
            answer=api.begin,
            headers={
                "Upload-Length": "tus: bytes of the whole.",
                "Upload-Metadata": "tus: `filename` in base64 is the name.",
                "Tus-Resumable": f"tus: {TUS}",
            },
            body=NewUpload,
            replies={201: Reply(words="The upload.", model=UploadAnswer, headers={"Location": "The link.", "Upload-Expires": "Until when."})},
            faults=(412,),
        ),
        one(
            method="GET",
            summary="How far an upload has come",
            answer=api.get,
            replies={200: Reply(words="The upload.", model=UploadAnswer)},
            faults=(404,),
        ),
        one(
            method="DELETE",
            summary="Throw an upload away",
            words="An image that came of it stays.",
            answer=api.remove,
            replies=thrown,
            faults=(404, 409),
        ),
        link(
            method="PUT",
            summary="Send a picture whole",
            answer=api.put,
            raw="application/octet-stream",
            replies={201: Reply(words="The stored image.", model=FoundImage, headers={"Location": "The image."})},
            faults=(404, 409),
        ),
        link(
            method="HEAD",
            summary="tus: how many bytes are here",
            answer=api.head,
            replies={200: Reply(words="As the headers say.", headers={**standing, "Upload-Length": "Bytes of the whole."})},
            faults=(404,),
        ),
        link(
            method="PATCH",
            summary="tus: send the next bytes",
            words="With the last of them it becomes an image, whose id is in `Image-Id`.",
            answer=api.patch,
            headers={"Upload-Offset": "Bytes that are there already.", "Tus-Resumable": TUS},
            raw=PIECES,
            replies={204: Reply(words="They are here.", headers={**standing, "Image-Id": "The image, once it is whole."})},
            faults=(404, 409, 412),
        ),
        link(
            method="DELETE",
            summary="tus: give an upload up",
            answer=api.give_up,
            replies=thrown,
            faults=(404, 409),
        ),
        every(
            method="OPTIONS",
            summary="tus: what is understood",
            answer=api.options,
            replies={
                204: Reply(
                    words="As the headers say.",
                    headers={"Tus-Version": TUS, "Tus-Extension": "What of it besides its core.", "Tus-Max-Size": "Most bytes."},
                )
            },
        ),
    ]


class _Api:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._uploads = studio.uploads

    async def begin(self, call: Call[None, NewUpload]) -> Response:
        headers, length, name = call.request.headers, call.body.length, call.body.name
        if "tus-resumable" in headers:
            _speaks_tus(call.request)
            length, name = _number(headers.get("upload-length")), _file_name(headers.get("upload-metadata", ""))
        upload, key = await self._uploads.begin(call.caller, length=length, name=name)
        url = f"{base_of(self._studio, call.request)}{UPLOAD_LINKS}{upload.id}?key={key}"
        expires = format_datetime(upload.expires_at, usegmt=True)
        return JSONResponse({**_facts(upload), "url": url}, 201, {"location": url, "upload-expires": expires, "tus-resumable": TUS})

    async def get(self, call: Call[None, None]) -> Response:
        return JSONResponse(_facts(await self._uploads.get(call.caller, call.named("upload_id"))))

    async def remove(self, call: Call[None, None]) -> Response:
        await self._uploads.remove(await self._uploads.get(call.caller, call.named("upload_id")))
        return Response(status_code=204)

    async def put(self, call: Call[Proof, None]) -> Response:
        upload = await self._uploads.behind(call.named("upload_id"), call.query.key)
        upload = await self._uploads.receive(upload, bounded(call.request, MAX_PICTURE_BYTES))
        if upload.length is not None and upload.offset != upload.length:
            raise RequestError(f"{upload.length} bytes were announced, and {upload.offset} came. Send them again, or the rest as tus has it.")
        image = await self._uploads.finish(upload)
        return JSONResponse(
            seen(self._studio, call.request, image, found_facts(self._studio, image)), 201, {"location": f"/api/v1/images/{image.id}"}
        )

    async def head(self, call: Call[Proof, None]) -> Response:
        upload = await self._uploads.behind(call.named("upload_id"), call.query.key)
        length = {"upload-length": str(upload.length)} if upload.length is not None else {"upload-defer-length": "1"}
        return Response(headers={**_standing(upload), **length})

    async def patch(self, call: Call[Proof, None]) -> Response:
        _speaks_tus(call.request)
        headers = call.request.headers
        if headers.get("content-type", "").partition(";")[0].strip().lower() != PIECES:
            raise RequestError(f"Send the bytes as {PIECES}.", code="unsupported_media_type")
        upload = await self._uploads.behind(call.named("upload_id"), call.query.key)
        if upload.length is None:
            raise RequestError("How long the whole is was not told when the upload began, so it comes in one piece: use PUT.")
        offset = _number(headers.get("upload-offset"))
        upload = await self._uploads.receive(upload, bounded(call.request, MAX_PICTURE_BYTES), offset=offset)
        if upload.offset < (upload.length or 0):
            return Response(status_code=204, headers=_standing(upload))
        image = await self._uploads.finish(upload)
        return Response(status_code=204, headers={**_standing(upload), "image-id": image.id})

    async def give_up(self, call: Call[Proof, None]) -> Response:
        await self._uploads.remove(await self._uploads.behind(call.named("upload_id"), call.query.key))
        return Response(status_code=204, headers={"tus-resumable": TUS})

    async def options(self, call: Call[None, None]) -> Response:
        extensions = "creation,expiration,termination"
        return Response(
            status_code=204, headers={"tus-resumable": TUS, "tus-version": TUS, "tus-extension": extensions, "tus-max-size": str(MAX_PICTURE_BYTES)}
        )


def _facts(upload: Upload) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": upload.id, "offset": upload.offset, "max_bytes": MAX_PICTURE_BYTES, "expires_at": upload.expires_at.isoformat()}
    return {**facts, **{name: value for name in ("length", "image_id") if (value := getattr(upload, name)) is not None}}


def _standing(upload: Upload) -> Mapping[str, str]:
    finished = {"image-id": upload.image_id} if upload.image_id is not None else {}
    return {"tus-resumable": TUS, "upload-offset": str(upload.offset), "cache-control": "no-store", **finished}


def _speaks_tus(request: Request) -> None:
    if request.headers.get("tus-resumable") != TUS:
        raise RequestError(f"Only tus {TUS} is understood; send Tus-Resumable: {TUS}.", code="precondition_failed")


def _number(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 15:
        raise RequestError(f"{text!r} is no number of bytes; tus sends Upload-Length when an upload begins, and Upload-Offset with each piece.")
    return int(text)


def _file_name(metadata: str) -> str:
    """The file's name out of `Upload-Metadata`: pairs of a key and base64."""
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        if key.lower() in ("filename", "name"):
            try:
                return b64decode(value, validate=True).decode("utf-8", "replace")[:200]
            except (binascii.Error, ValueError):
                raise RequestError("Upload-Metadata holds a name that is no base64.") from None
    return ""
