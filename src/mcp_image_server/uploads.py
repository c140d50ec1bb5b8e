"""Pictures that callers send: a link is given out first, then the bytes come to it, whole or piece by piece, and at the end there is a stored image.

What is on its way lies in the folder `uploads` of the data folder, so that any server process can go on with it: the pieces, and beside them a small record.
The link holds a secret of which only the hash is kept. Whoever has the link may send, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread

from .audit import audit
from .errors import LimitError, NotFoundError, RequestError, StorageError
from .models import MAX_PICTURE_BYTES, Caller, Drawn, Image, ImageRequest, Job, JobState
from .settings import data_folder
from .workshop import Workshop, may_change

if TYPE_CHECKING:
    from .pictures import Processed

T = TypeVar("T")

PROVIDER = "upload"
"""Under which pictures that were sent to us stand in the record."""

MODEL = "local"

MAX_OPEN = 100
"""Uploads that a principal may have on the way at once."""

_LEASE = timedelta(seconds=60)
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture on its way in."""

    id: str
    principal: str
    name: str
    """What its sender calls it."""
    proof: str
    """Hash of what the link must hold."""
    length: int | None
    """Bytes of the whole, where they were told beforehand."""
    created_at: str
    expires_at: str
    """Moments in ISO 8601, UTC. What is not finished by then is thrown away."""
    image_id: str | None = None
    """The stored image that came of it."""
    offset: int = 0
    """Bytes that are here."""

    @property
    def expires(self) -> datetime:
        """The moment itself."""
        return datetime.fromisoformat(self.expires_at)


class Uploads:
    """Pictures on their way in."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._busy: set[str] = set()

    @property
    def _folder(self) -> Path:
        return data_folder(self._workshop.settings) / "uploads"

    async def begin(self, caller: Caller, *, length: int | None = None, name: str = "") -> tuple[Upload, str]:
        """A new upload, and the secret of its link.

        Args:
            length: bytes of the whole, where they are known.
            name: kept as the image's prompt, so that it is found by it.

        Raises:
            LimitError: it would be too large (`payload_too_large`), or the caller has too many on the way (`quota_exceeded`).
            StorageError: the folder cannot be written.
        """
        may_change(caller)
        if length is not None and length > MAX_PICTURE_BYTES:
            raise _too_large(MAX_PICTURE_BYTES)
        key, now = secrets.token_urlsafe(32), datetime.now(UTC)
        expires = now + timedelta(seconds=self._workshop.settings.upload_ttl)
        upload = Upload(
            id=secrets.token_hex(16),
            principal=caller.principal,
            proof=_hash_of(key),
            name=" ".join(name.split())[:200],
            length=length,
            created_at=now.isoformat(timespec="seconds"),
            expires_at=expires.isoformat(timespec="seconds"),
        )
        waiting = await self._in_folder(lambda: self._swept(now))
        if sum(each.principal == caller.principal and each.image_id is None for each in waiting) >= MAX_OPEN:
            raise LimitError(f"{MAX_OPEN} uploads are on their way already. Finish or remove some first.", details={"max_uploads": MAX_OPEN})
        await self._in_folder(lambda: self._write(upload))
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
        """
        with self._alone(upload.id):
            upload = await self._found(upload.id)
            if upload.image_id is not None:
                raise RequestError(
                    f"The upload is finished: it is image {upload.image_id}.", code="upload_conflict", details={"image_id": upload.image_id}
                )
            if offset is not None and offset != upload.offset:
                raise RequestError(f"{upload.offset} bytes are here, so go on from there.", code="upload_conflict", details={"offset": upload.offset})
            reached, most = offset or 0, MAX_PICTURE_BYTES if upload.length is None else upload.length
            with self._storage_errors():
                async with await anyio.open_file(self._pieces(upload.id), "ab" if offset else "wb") as file:
                    async for piece in pieces:
                        reached += len(piece)
                        if reached > most:
                            raise _too_large(most)
                        await file.write(piece)
            return replace(upload, offset=reached)

    async def finish(self, upload: Upload) -> Image:
        """The stored image that the bytes are.

        Raises:
            RequestError: they are no picture (`invalid_image`); then they are thrown away, and the link takes others. Or it is finished already.
            StorageError: store or record cannot be written.
        """
        with self._alone(upload.id):
            upload = await self._found(upload.id)
            if upload.image_id is not None:
                raise RequestError(
                    f"The upload is finished: it is image {upload.image_id}.", code="upload_conflict", details={"image_id": upload.image_id}
                )
            pieces = self._pieces(upload.id)
            try:
                processed = await self._in_folder(lambda: _processed(pieces))
            except RequestError:
                await self._in_folder(lambda: pieces.unlink(missing_ok=True))
                raise
            image = await self._keep(upload, processed)
            await self._in_folder(lambda: self._write(replace(upload, image_id=image.id)))
            await self._in_folder(lambda: pieces.unlink(missing_ok=True))
        audit("upload.finished", principal=upload.principal, upload=upload.id, image=image.id)
        return image

    async def remove(self, upload: Upload) -> None:
        """Throws away what is on its way; an image that came of it stays.

        Raises:
            RequestError: somebody sends to it just now (`upload_conflict`).
        """
        with self._alone(upload.id):
            await self._in_folder(lambda: self._remove(upload.id))
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

    # ------------------------------------------------------------------ the folder

    @contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        """One sender at a time. A second one is not kept waiting: the first may have gone without our knowing, and it is to try again then."""
        if upload_id in self._busy:
            raise RequestError("Somebody sends bytes to this link just now; try again when that has ended.", code="upload_conflict")
        self._busy.add(upload_id)
        try:
            yield
        finally:
            self._busy.discard(upload_id)

    async def _found(self, upload_id: str) -> Upload:
        upload = await self._in_folder(lambda: self._read(upload_id)) if _ID.fullmatch(upload_id) else None
        if upload is None or upload.expires <= datetime.now(UTC):
            raise _no_upload()
        return upload

    async def _in_folder(self, work: Callable[[], T]) -> T:
        with self._storage_errors():
            return await to_thread.run_sync(work)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"Uploads cannot be kept in {self._folder}: {error.strerror or error}.") from error

    def _record(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.json"

    def _pieces(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.part"

    def _write(self, upload: Upload) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged = self._folder / f"{upload.id}.{secrets.token_hex(4)}"
        staged.write_text(json.dumps({name: value for name, value in asdict(upload).items() if name != "offset"}), encoding="utf-8")
        staged.replace(self._record(upload.id))

    def _read(self, upload_id: str) -> Upload | None:
        try:
            upload = Upload(**json.loads(self._record(upload_id).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        try:
            return replace(upload, offset=self._pieces(upload_id).stat().st_size)
        except FileNotFoundError:
            return upload

    def _remove(self, upload_id: str) -> None:
        self._pieces(upload_id).unlink(missing_ok=True)
        self._record(upload_id).unlink(missing_ok=True)

    def _swept(self, now: datetime) -> list[Upload]:
        """The uploads whose time is not over; those of others are removed."""
        found = [upload for path in self._folder.glob("*.json") if (upload := self._read(path.stem)) is not None]
        for upload in found:
            if upload.expires <= now:
                self._remove(upload.id)
        return [upload for upload in found if upload.expires > now]


def _hash_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _processed(path: Path) -> Processed:
    from .pictures import process, read_input

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    return process(read_input(data, max_bytes=MAX_PICTURE_BYTES).picture.data)


def _no_upload() -> NotFoundError:
    return NotFoundError("There is no such upload, or its time is over. POST /api/v1/uploads begins one.", code="upload_not_found")


def _too_large(most: int) -> LimitError:
    return LimitError(f"The upload has more than {most:,} bytes.", code="payload_too_large", details={"max_bytes": most})
