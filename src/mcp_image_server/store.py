"""Where image bytes live: objects under keys, in one place that a URL names."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from anyio import to_thread

from .errors import ConfigError, NotFoundError, RequestError, StorageError
from .redaction import redacted

if TYPE_CHECKING:
    from obstore.store import ObjectStore

MAX_NAME_BYTES = 200
"""Longest file name we make, in UTF-8. Common file systems allow 255; the rest is room for the mark of an unfinished write."""

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/avif": "avif",
}

NO_EXTENSION = "img"
"""Of a picture whose media type is none of these."""

ACCESS = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        "AWS_DISABLE_BULK_DELETE",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_KMS_KEY_ID",
    ),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"),
}
"""The variables by which each kind of place is reached and opened. obstore reads these and more from the process environment by itself
(https://developmentseed.org/obstore/latest/authentication/), but not from our files."""

NOTHING: Mapping[str, str] = MappingProxyType({})

_PROVEN = 60.0
"""Seconds for which a place that was written needs no trial."""

_STAGED = re.compile(r".+#[0-9a-f]{12}")
"""Names of files that are still being written."""


class Store(Protocol):
    """Image bytes under keys. A key is a relative path with forward slashes; one that could leave the place is a RequestError."""

    url: str
    """Names the place; `open_store` of it opens the same place again."""

    async def ready(self) -> None:
        """Returns when the place can be written, after trying; makes the folder.

        Raises:
            StorageError: it cannot; the message says why and what would work.
        """
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Stores the bytes whole or not at all, replacing what was under the key; on disk when this returns.

        Raises:
            StorageError: the place cannot be written; it holds what it held before.
        """
        ...

    async def get(self, key: str) -> bytes:
        """The bytes under the key.

        Raises:
            NotFoundError: `file_not_found`, nothing is there.
        """
        ...

    async def size(self, key: str) -> int | None:
        """How many bytes are under the key; None when nothing is."""
        ...

    async def delete(self, key: str) -> None:
        """Takes the key away; nothing happens when it is not there."""
        ...

    async def keys(self, prefix: str = "") -> list[str]:
        """Every key that starts with these characters, sorted. What is still being written is not among them."""
        ...

    async def find(self, stem: str) -> list[str]:
        """The keys that are `stem` and any one extension: finds a picture whose media type is not known (any more)."""
        ...

    def path(self, key: str) -> Path | None:
        """The file's absolute path; None where the place is not a folder of this machine. The file need not exist."""
        ...

    async def sweep(self, older_than_seconds: float) -> list[str]:
        """Removes what writes cut off by a crash left behind that long ago, and names it."""
        ...


def open_store(url: str, environment: Mapping[str, str] = NOTHING) -> Store:
    """The store at `file:///absolute/folder`, `memory://`, `s3://bucket/prefix`, or any other URL that obstore knows.

    Nothing is created or reached before the first use.

    Args:
        environment: where the variables of ACCESS are looked for, beside the process's own.

    Raises:
        ConfigError: there is no such kind of place, or it cannot be opened like this.
    """
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return _Folder(_folder_of(url))
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    access: Any = {name.lower(): environment[name] for name in ACCESS.get(scheme, ()) if environment.get(name)}
    if endpoint := access.pop("aws_endpoint_url_s3", None):
        access["aws_endpoint"] = endpoint
    plain = any(value.startswith("http://") for value in access.values())
    try:
        # A picture that has been paid for is stored elsewhere when this takes longer.
        store = from_url(
            url,
            **({"config": access} if access else {}),
            client_options={"allow_http": plain, "connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=15)},
        )
    except (BaseError, ValueError) as exc:
        raise ConfigError(
            redacted(f"{url!r} cannot be opened as a place for pictures: {_first_line(exc)}. Write file:///absolute/folder or s3://bucket/prefix")
        ) from exc
    return _Objects(url, store)


def folder_url(path: Path) -> str:
    """The URL of a folder, absolute, whatever characters its name has."""
    return path.absolute().as_uri()


def _folder_of(url: str) -> Path:
    # pathlib learns this with Python 3.13 only.
    parts = urlsplit(url)
    path = os.fsdecode(unquote_to_bytes(parts.path))
    if sys.platform == "win32":
        path = f"//{parts.netloc}{path}" if parts.netloc else path.removeprefix("/")
    folder = Path(path)
    if not folder.is_absolute():
        raise ConfigError(f"{url!r} names no absolute folder; write file:///absolute/folder")
    return folder


def image_key(prefix: str | None, provider: str, image_id: str, media_type: str) -> str:
    """A picture's key, `{prefix}_{provider}_{image_id}.{ext}`: one file name of at most 200 bytes, safe on every system. Without a prefix, `img`.

    What is no letter or digit of any script becomes `_` in the prefix, and a long prefix is cut. Provider and id stay as they are,
    so that the id can be read off the name.
    """
    tail = f"_{provider}_{image_id}.{EXTENSIONS.get(media_type, NO_EXTENSION)}"
    start = "".join(c if c.isalnum() or c == "_" else "_" for c in prefix or "img").encode()
    return start[: MAX_NAME_BYTES - len(tail.encode())].decode("utf-8", "ignore") + tail


def thumbnail_key(image_id: str) -> str:
    """The key of a picture's thumbnail. Names that begin with a dot stay out of people's folder views."""
    return f".thumbnails/{image_id}.webp"


def preview_key(job_id: str) -> str:
    """The key of the latest look at work under way."""
    return f".previews/{job_id}.webp"


def input_key(sha256: str) -> str:
    """The key of a picture that a job works on, by its content: a job can be begun again after a crash, or with changes."""
    return f".inputs/{sha256}"


def piece_key(upload_id: str, piece: str) -> str:
    """The key of a piece of a picture that somebody is sending."""
    return f".uploads/{upload_id}-{piece}"


def _checked(key: str) -> PurePosixPath:
    """The key as a path that surely stays inside, on any system."""
    parts = key.split("/")
    if any(part in ("", ".", "..") or _STAGED.fullmatch(part) for part in parts) or any(c < " " or c in '\\:*?"<>|' for c in key):
        raise RequestError(f"{key!r} is no key of a picture; use the key that the record names")
    return PurePosixPath(*parts)


def _missing(key: str) -> NotFoundError:
    return NotFoundError(f"there is no file {key!r} in the store; it was moved or deleted after it was recorded", code="file_not_found")


class _Folder:
    """A folder of this machine.

    obstore's LocalStore also writes beside and renames, but never calls fsync and has no option for it, so after a power cut the record could name
    an empty file. Hence files are written here, and obstore serves every other kind of place.
    """

    def __init__(self, folder: Path) -> None:
        self.url = folder_url(folder)
        self._folder = folder

    async def ready(self) -> None:
        def try_out() -> None:
            with _storage_errors(self._folder):
                _make_folder(self._folder)
                trial = self._folder / f"trial#{secrets.token_hex(6)}"
                try:
                    trial.write_bytes(b"trial")
                finally:
                    trial.unlink(missing_ok=True)

        await to_thread.run_sync(try_out)

    async def put(self, key: str, data: bytes) -> None:
        target = self.path(key)

        def write() -> None:
            with _storage_errors(self._folder):
                _make_folder(target.parent)
                staged = target.with_name(f"{target.name}#{secrets.token_hex(6)}")
                try:
                    with staged.open("xb", buffering=0) as file:
                        rest = memoryview(data)
                        while rest:
                            rest = rest[file.write(rest) :]
                        os.fsync(file.fileno())
                    staged.replace(target)
                except BaseException:
                    staged.unlink(missing_ok=True)
                    raise
                _sync_folder(target.parent)

        await to_thread.run_sync(write)

    async def get(self, key: str) -> bytes:
        path = self.path(key)

        def read() -> bytes:
            with _storage_errors(self._folder, "read"):
                try:
                    return path.read_bytes()
                except (FileNotFoundError, NotADirectoryError):
                    raise _missing(key) from None

        return await to_thread.run_sync(read)

    async def size(self, key: str) -> int | None:
        path = self.path(key)

        def measure() -> int | None:
            with _storage_errors(self._folder, "read"):
                try:
                    return path.stat().st_size
                except (FileNotFoundError, NotADirectoryError):
                    return None

        return await to_thread.run_sync(measure)

    async def delete(self, key: str) -> None:
        path = self.path(key)

        def remove() -> None:
            with _storage_errors(self._folder):
                path.unlink(missing_ok=True)

        await to_thread.run_sync(remove)

    async def keys(self, prefix: str = "") -> list[str]:
        def collect() -> list[str]:
            with _storage_errors(self._folder, "read"):
                return sorted(key for key, name, _ in self._walk() if key.startswith(prefix) and not _STAGED.fullmatch(name))

        return await to_thread.run_sync(collect)

    async def find(self, stem: str) -> list[str]:
        base = self.path(stem)

        def look() -> list[str]:
            with _storage_errors(self._folder, "read"):
                try:
                    names = sorted(os.listdir(base.parent))
                except (FileNotFoundError, NotADirectoryError):
                    return []
                return [str(PurePosixPath(stem).with_name(name)) for name in names if _is_named(name, base.name)]

        return await to_thread.run_sync(look)

    def path(self, key: str) -> Path:
        return self._folder.joinpath(*_checked(key).parts)

    async def sweep(self, older_than_seconds: float) -> list[str]:
        def remove() -> list[str]:
            swept = []
            with _storage_errors(self._folder):
                for key, name, path in list(self._walk()):
                    if _STAGED.fullmatch(name) and time.time() - path.stat().st_mtime > older_than_seconds:
                        path.unlink(missing_ok=True)
                        swept.append(key)
            return sorted(swept)

        return await to_thread.run_sync(remove)

    def _walk(self) -> Iterator[tuple[str, str, Path]]:
        """Key, name and path of every file."""
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder, name)
                yield path.relative_to(self._folder).as_posix(), name, path


def _is_named(name: str, stem: str) -> bool:
    return name.startswith(f"{stem}.") and "." not in name[len(stem) + 1 :] and not _STAGED.fullmatch(name)


def _make_folder(folder: Path) -> None:
    """Creates the folder so that it, too, outlives a power cut."""
    if not folder.is_dir():
        if folder != folder.parent:
            _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # Windows has no such call: NTFS journals the names itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "it is mounted read-only",
    errno.EACCES: "this user may not do that there",
    errno.EPERM: "this user may not do that there",
    errno.ENOTDIR: "a part of this path is a file",
    errno.EEXIST: "this path is a file",
    errno.ENAMETOOLONG: "the path is too long for this file system",
    errno.EFBIG: "the file is larger than allowed there",
}


@contextmanager
def _storage_errors(folder: Path, verb: str = "write") -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        reason = _REASONS.get(exc.errno or 0) or exc.strerror or str(exc)
        raise StorageError(
            f"cannot {verb} pictures in {folder}: {reason}. Make this folder usable, or name another one in MCP_IMAGE_SAVE_DIR",
            details={"folder": str(folder)},
        ) from exc


class _Objects:
    """Any other place that obstore reaches. Object stores make an object visible only when it is whole."""

    def __init__(self, url: str, store: ObjectStore) -> None:
        self.url = url
        self._store = store
        self._written_at = -inf

    async def ready(self) -> None:
        if time.monotonic() - self._written_at > _PROVEN:
            trial = f".trial/{secrets.token_hex(6)}"
            await self.put(trial, b"trial")
            await self.delete(trial)

    async def put(self, key: str, data: bytes) -> None:
        import obstore

        extension = key.rpartition(".")[2]
        media_type = next((known for known, short in EXTENSIONS.items() if short == extension), "application/octet-stream")
        with _object_errors(self.url):
            await obstore.put_async(
                self._store,
                str(_checked(key)),
                data,
                attributes={"Content-Type": media_type},
                use_multipart=False,
            )
        self._written_at = time.monotonic()

    async def get(self, key: str) -> bytes:
        import obstore

        with _object_errors(self.url):
            try:
                reply = await obstore.get_async(self._store, str(_checked(key)))
                return bytes(await reply.bytes_async())
            except FileNotFoundError:
                raise _missing(key) from None

    async def size(self, key: str) -> int | None:
        import obstore

        with _object_errors(self.url):
            try:
                return (await obstore.head_async(self._store, str(_checked(key))))["size"]
            except FileNotFoundError:
                return None

    async def delete(self, key: str) -> None:
        import obstore

        with _object_errors(self.url):
            try:
                await obstore.delete_async(self._store, str(_checked(key)))
            except FileNotFoundError:
                return

    async def keys(self, prefix: str = "") -> list[str]:
        import obstore

        # obstore matches whole path segments only; ours matches characters.
        folder = prefix.rpartition("/")[0]
        with _object_errors(self.url):
            found = [entry["path"] async for page in obstore.list(self._store, folder or None) for entry in page]
        return sorted(key for key in found if key.startswith(prefix))

    async def find(self, stem: str) -> list[str]:
        # Every extension that a key of ours may have is asked for: to list what begins so, a store would list the whole folder.
        keys = [f"{stem}.{extension}" for extension in sorted((*EXTENSIONS.values(), NO_EXTENSION))]
        return [key for key in keys if await self.size(key) is not None]

    def path(self, key: str) -> None:
        _checked(key)

    async def sweep(self, older_than_seconds: float) -> list[str]:
        return []


@contextmanager
def _object_errors(url: str) -> Iterator[None]:
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as exc:
        words = "the keys that this server has do not allow it, or there is no such bucket. It reads, writes, deletes and lists there"
        raise StorageError(redacted(f"cannot use the pictures at {url}: {words}."), details={"url": redacted(url)}) from exc
    except BaseError as exc:
        raise StorageError(redacted(f"cannot use the pictures at {url}: {_first_line(exc)}."), details={"url": redacted(url)}) from exc


def _first_line(error: Exception) -> str:
    """What went wrong, without the insides of obstore that follow."""
    return str(error).partition("\n")[0].strip()
