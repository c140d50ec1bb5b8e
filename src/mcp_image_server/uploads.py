"""Pictures that callers send: a link is given out first, then the bytes come to it, whole or piece by piece, and at the end there is a stored image.

The bytes lie in the store of new pictures, in pieces, and the record says how far they are and who sends, so that every server that shares the two can go on.
The link holds a secret of which only the hash is kept. Whoever has the link may send, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from .audit import audit
from .errors import LimitError, NotFoundError, RequestError, StorageError
from .models import MAX_PICTURE_BYTES, Caller, Drawn, Image, ImageRequest, Job, JobState
from .models.uploads import Upload
from .store import piece_key
from .workshop import Workshop, may_change

if TYPE_CHECKING:
    from .history import History
    from .pictures import Processed
    from .store import Store

log = logging.getLogger(__name__)

PROVIDER = "upload"
"""Under which pictures that were sent to us stand in the record."""

MODEL = "local"

MAX_OPEN = 100
"""Uploads that a principal may have on the way at once."""

PIECE = 4 * 1024 * 1024
"""Bytes of a picture that are stored together. So much is lost with a server that is killed; of a sender who breaks off, all is kept."""

SMALL = 256 * 1024
"""A last piece of fewer bytes is stored anew with those that follow, so that a picture that comes crumb by crumb does not lie there in as many pieces."""

HELD = timedelta(seconds=30)
"""After so much silence of a sender, somebody else may send: its server may have died."""

_LEASE = timedelta(seconds=60)
_ID = re.compile(r"[0-9a-f]{32}")


class Uploads:
    """Pictures on their way in."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    async def begin(self, caller: Caller, *, length: int | None = None, name: str = "") -> tuple[Upload, str]:
        """A new upload, and the secret of its link.

        Args:
            length: bytes of the whole, where they are known.
            name: kept as the image's prompt, so that it is found by it.

        Raises:
            LimitError: it would be too large (`payload_too_large`), or the caller has too many on the way (`quota_exceeded`).
            StorageError: the record cannot be written.
        """
        may_change(caller)
        if length is not None and length > MAX_PICTURE_BYTES:
            raise _too_large(MAX_PICTURE_BYTES)
        key, now = secrets.token_urlsafe(32), datetime.now(UTC).replace(microsecond=0)
        upload = Upload(
            id=secrets.token_hex(16),
            principal=caller.principal,
            proof=_hash_of(key),
            name=" ".join(name.split())[:200],
            length=length,
            store_url=self._workshop.save_url,
            created_at=now,
            expires_at=now + timedelta(seconds=self._workshop.settings.upload_ttl),
        )
        await self._sweep(now)
        if not await (await self._workshop.history()).uploads.begin(upload, most=MAX_OPEN):
            raise LimitError(f"{MAX_OPEN} uploads are on their way already. Finish or remove some first.", details={"max_uploads": MAX_OPEN})
        audit("upload.begun", principal=caller.principal, upload=upload.id)
        return upload, key

    async def get(self, caller: Caller, upload_id: str) -> Upload:
        """The caller's upload of that id.

        Raises:
            NotFoundError: the caller has none (`upload_not_found`), or its time is over.
        """
        upload = await self._found(upload_id)
        if upload.principal != caller.principal and not caller.is_admin:
            raise _no_upload()
        return upload

    async def behind(self, upload_id: str, key: str) -> Upload:
        """The upload to which the link with that secret leads.

        Raises:
            NotFoundError: to none, or its time is over.
        """
        upload = await self._found(upload_id)
        if not hmac.compare_digest(upload.proof, _hash_of(key)):
            raise _no_upload()
        return upload

    async def receive(self, upload: Upload, pieces: AsyncIterable[bytes], *, offset: int | None = None) -> Upload:
        """The upload with these bytes. What came before the sender broke off is kept.

        Args:
            offset: the bytes go on from there; None: they are the whole, in the place of what was here.

        Raises:
            RequestError: it is finished, is being sent by somebody else, or has another number of bytes so far (`upload_conflict`).
            LimitError: the bytes are more than were told, or than is taken.
            StorageError: store or record cannot be written.
        """
        async with self._held(upload) as hold:
            _check_unfinished(hold.upload)
            if offset is not None and offset != hold.upload.offset:
                raise RequestError(
                    f"{hold.upload.offset} bytes are here, so go on from there.", code="upload_conflict", details={"offset": hold.upload.offset}
                )
            if offset is None:
                await hold.empty()
            reached, most = offset or 0, MAX_PICTURE_BYTES if upload.length is None else upload.length
            waiting, enough = bytearray(), 1  # the first bytes are stored at once: a store that is away is told before the rest is sent
            try:
                async for piece in pieces:
                    reached += len(piece)
                    if reached > most:
                        raise _too_large(most)
                    waiting += piece
                    if len(waiting) >= enough:
                        data, waiting, enough = bytes(waiting), bytearray(), PIECE
                        await hold.add(data)
                    await hold.renew()
            finally:
                if waiting:
                    with anyio.CancelScope(shield=True):
                        await hold.add(bytes(waiting))
            return hold.upload

    async def finish(self, upload: Upload) -> Image:
        """The stored image that the bytes are.

        Raises:
            RequestError: they are no picture (`invalid_image`); then they are thrown away, and the link takes others. Or it is finished already.
            StorageError: store or record cannot be written.
        """
        async with self._held(upload) as hold:
            _check_unfinished(hold.upload)
            data = await hold.read()
            try:
                processed = await to_thread.run_sync(_processed, data)
            except RequestError:
                await hold.empty()
                raise
            image = await self._keep(hold.upload, processed)
            await hold.finish(image)
        audit("upload.finished", principal=upload.principal, upload=upload.id, image=image.id)
        return image

    async def remove(self, upload: Upload) -> None:
        """Throws away what is on its way; an image that came of it stays.

        Raises:
            RequestError: somebody sends to it just now (`upload_conflict`).
        """
        async with self._held(upload) as hold:
            await hold.empty()
            await (await self._workshop.history()).uploads.forget([upload.id])
        audit("upload.removed", principal=upload.principal, upload=upload.id)

    # ------------------------------------------------------------------ the image

    async def _keep(self, upload: Upload, processed: Processed) -> Image:
        from .jobs.work import write_picture

        now, store = datetime.now(UTC), self._workshop.store(self._workshop.save_url)
        history, owner = await self._workshop.history(), (await self._workshop.jobs()).owner
        job = Job(
            id=secrets.token_hex(8),
            principal=upload.principal,
            state=JobState.RUNNING,
            request=ImageRequest(prompt=upload.name or "uploaded picture"),
            provider=PROVIDER,
            model=MODEL,
            store_url=store.url,
            owner=owner,
            created_at=now,
        )
        image, _ = await write_picture(job, 0, Drawn(data=processed.data), processed, [store], now)
        await history.enter(job, lease_until=now + _LEASE)
        await history.finish(job.id, owner, JobState.SUCCEEDED, now=now, images=[image])
        return image

    # ------------------------------------------------------------------ the record

    @asynccontextmanager
    async def _held(self, upload: Upload) -> AsyncIterator[_Hold]:
        """One sender at a time. A second one is not kept waiting: the first may have gone without our knowing, and it is to try again then."""
        history, holder, now = await self._workshop.history(), secrets.token_hex(8), datetime.now(UTC)
        held = await history.uploads.hold(upload.id, holder, now=now, until=now + HELD)
        if held is None:
            await self._found(upload.id)
            raise RequestError("Somebody sends bytes to this link just now; try again when that has ended.", code="upload_conflict")
        hold = _Hold(history, self._workshop.store(held.store_url), held, holder)
        try:
            yield hold
        finally:
            with anyio.CancelScope(shield=True):
                await hold.release()

    async def _found(self, upload_id: str) -> Upload:
        history = await self._workshop.history()
        upload = await history.uploads.get(upload_id, now=datetime.now(UTC)) if _ID.fullmatch(upload_id) else None
        if upload is None:
            raise _no_upload()
        return upload

    async def _sweep(self, now: datetime) -> None:
        """Throws away the uploads whose time is over."""
        history = await self._workshop.history()
        expired = await history.uploads.expired(now=now)
        for upload in expired:
            await _throw_away(self._workshop.store(upload.store_url), upload.id, upload.pieces)
        if expired:
            await history.uploads.forget([upload.id for upload in expired])


class _Hold:
    """An upload that one sender holds. Once another has taken it, because this one was silent for too long, it changes nothing more."""

    def __init__(self, history: History, store: Store, upload: Upload, holder: str) -> None:
        self.upload = upload
        self._history = history
        self._store = store
        self._holder = holder

    async def add(self, data: bytes) -> None:
        """The bytes are in the store, after those that were there."""
        pieces, start = self.upload.pieces, self.upload.offset
        if pieces and self.upload.offset - _start(pieces[-1]) < SMALL:
            try:
                data = await self._store.get(piece_key(self.upload.id, pieces[-1])) + data
            except NotFoundError as error:  # whoever holds it now has put it together with what followed
                raise _lost() from error
            start, pieces = _start(pieces[-1]), pieces[:-1]
        new = f"{start}-{secrets.token_hex(4)}"
        await self._store.put(piece_key(self.upload.id, new), data)
        try:
            await self._change((*pieces, new), start + len(data))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _throw_away(self._store, self.upload.id, [new])
            raise

    async def read(self) -> bytes:
        """All the bytes."""
        return b"".join([await self._store.get(piece_key(self.upload.id, piece)) for piece in self.upload.pieces])

    async def empty(self) -> None:
        """There are none any more."""
        if self.upload.pieces:
            await self._change((), 0)

    async def renew(self) -> None:
        """Nobody else may send for a while, since something came."""
        if self.upload.held_until is None or self.upload.held_until - datetime.now(UTC) < HELD * 2 / 3:
            await self._change(self.upload.pieces, self.upload.offset)

    async def finish(self, image: Image) -> None:
        """The upload is that image."""
        self.upload = replace(self.upload, image_id=image.id)
        await self._change((), self.upload.offset)

    async def release(self) -> None:
        """Others may send."""
        await self._history.uploads.write(replace(self.upload, held_until=None), self._holder)

    async def _change(self, pieces: tuple[str, ...], offset: int) -> None:
        before = self.upload.pieces
        changed = replace(self.upload, pieces=pieces, offset=offset, held_until=datetime.now(UTC) + HELD)
        if not await self._history.uploads.write(changed, self._holder):
            raise _lost()
        self.upload = changed
        await _throw_away(self._store, self.upload.id, [piece for piece in before if piece not in pieces])


def _start(piece: str) -> int:
    return int(piece.partition("-")[0])


async def _throw_away(store: Store, upload_id: str, pieces: Iterable[str]) -> None:
    """Deletes pieces that nobody needs; what the store does not let go of now, `verify` throws away later."""
    try:
        for piece in pieces:
            await store.delete(piece_key(upload_id, piece))
    except StorageError as error:
        log.warning("Pieces of an upload could not be removed: %s", error.message)


def _check_unfinished(upload: Upload) -> None:
    if upload.image_id is not None:
        raise RequestError(f"The upload is finished: it is image {upload.image_id}.", code="upload_conflict", details={"image_id": upload.image_id})


def _lost() -> RequestError:
    return RequestError("Somebody else has gone on with this upload, or has removed it.", code="upload_conflict")


def _hash_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _processed(data: bytes) -> Processed:
    from .pictures import process, read_input

    return process(read_input(data, max_bytes=MAX_PICTURE_BYTES).picture.data)


def _no_upload() -> NotFoundError:
    return NotFoundError("There is no such upload, or its time is over. POST /api/v1/uploads begins one.", code="upload_not_found")


def _too_large(most: int) -> LimitError:
    return LimitError(f"The upload has more than {most:,} bytes.", code="payload_too_large", details={"max_bytes": most})
