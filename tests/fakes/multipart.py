"""What arrived as multipart/form-data, in the words of `net`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mcp_image_server.net import File

from .server import Seen


def parts_of(seen: Seen) -> list[tuple[str, str | File]]:
    """The parts of the request's body, in order.

    Raises:
        ValueError: the body is of another kind.
    """
    kind = seen.headers.get("content-type", "none")
    match = re.fullmatch(r"multipart/form-data; boundary=(\S+)", kind)
    if match is None:
        raise ValueError(f"the body is of the kind {kind}")
    return [_part(piece.removeprefix(b"\r\n").removesuffix(b"\r\n")) for piece in seen.body.split(b"--" + match[1].encode())[1:-1]]


def request_of(parts: Sequence[tuple[str, str | File]]) -> Seen:
    """A request with these parts, for a fake's rules without a network."""
    pieces = []
    for name, value in parts:
        head = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, File):
            head += f'; filename="{value.name}"\r\nContent-Type: {value.media_type}'
        pieces.append(b"--b\r\n" + head.encode() + b"\r\n\r\n" + (value.data if isinstance(value, File) else value.encode()) + b"\r\n")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    return Seen(method="POST", path="", query={}, headers=headers, body=b"".join(pieces) + b"--b--\r\n")


def _part(piece: bytes) -> tuple[str, str | File]:
    head, _, data = piece.partition(b"\r\n\r\n")
    facts = dict(re.findall(r'(name|filename|content-type)(?:="|: )([^"\r]*)', head.decode(), re.IGNORECASE))
    if "filename" not in facts:
        return facts["name"], data.decode()
    return facts["name"], File(name=facts["filename"], media_type=facts["Content-Type"], data=data)
