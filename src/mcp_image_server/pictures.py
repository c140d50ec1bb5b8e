"""Bytes and what is in them: media type by content, size, thumbnail, and provenance written into the file. Pure functions for a worker thread."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from xml.etree import ElementTree as Xml

from PIL import AvifImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - named here, or Pillow loads all of its fifty formats to find them
from PIL import Image as Pillow
from thash import rgba_to_thumb_hash

from .models import Size

MAX_PIXELS = 8192 * 8192
"""Most pixels we decode. The hungriest format, WebP, takes sixteen bytes of memory for each while it is decoded: 1 GiB at the limit."""

_MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG that is followed by a second one, such as a depth or brightness map
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
}
"""What Pillow calls the formats we read. Its decoders for all others are not offered to bytes from outside."""

_MAY_MOVE = ("PNG", "WEBP", "GIF", "AVIF")


class NotAPictureError(ValueError):
    """The bytes are no picture we can read; the message says what they look like and what would work."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the bytes of a picture say about themselves."""

    media_type: str
    size: Size
    """As shown: turned the way the camera's note in the file asks for."""
    size_bytes: int
    sha256: str
    animated: bool
    """More than one frame; size and thumbnail are those of the first."""


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small WebP of a picture, and its placeholder."""

    data: bytes = field(repr=False)
    size: Size
    thumbhash: str
    """Base64 (https://evanw.github.io/thumbhash/)."""


@dataclass(frozen=True, kw_only=True)
class Processed:
    """A picture ready to be stored: its bytes with provenance, facts about these very bytes, and its thumbnail."""

    data: bytes = field(repr=False)
    facts: Facts
    thumbnail: Thumbnail


def process(data: bytes, provenance: Mapping[str, str] | None = None, *, max_pixels: int = MAX_PIXELS) -> Processed:
    """Everything storing needs, decoding once: `examine`, `thumbnail` and `embed` together. Without a provenance the bytes stay as they are.

    Raises:
        NotAPictureError: see `examine`.
    """
    decoded = _decode(data, max_pixels)
    final = embed(data, provenance) if provenance else data
    return Processed(data=final, facts=_facts(final, decoded), thumbnail=_thumbnail(decoded, _EDGE, _MAX_BYTES))


def examine(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Facts:
    """Facts about the bytes, after the first frame was decoded to its end.

    Raises:
        NotAPictureError: no picture, a broken or truncated one, or one with too many pixels.
    """
    return _facts(data, _decode(data, max_pixels))


_EDGE = 512
_MAX_BYTES = 100_000


def thumbnail(data: bytes, *, edge: int = _EDGE, max_bytes: int = _MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Thumbnail:
    """A WebP that fits into a square of `edge` pixels and into `max_bytes`; upright, transparency kept, first frame only.

    Raises:
        NotAPictureError: see `examine`.
    """
    return _thumbnail(_decode(data, max_pixels), edge, max_bytes)


def to_png(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The first frame as a PNG, for programs that know no other format. A large JPEG comes out smaller.

    Raises:
        NotAPictureError: see `examine`.
    """
    out = BytesIO()
    _screen_colours(_decode(data, max_pixels).pixels).save(out, "PNG")
    return out.getvalue()


_ENDINGS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif", ".bmp": "image/bmp"}
_WRITERS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF", "image/bmp": "BMP"}


def converted(data: bytes, ending: str, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The picture in the format of a file name's ending, with its provenance; unchanged where it has that format already, or nobody knows the ending.

    What has no transparency (JPEG, BMP) gets a white ground.

    Raises:
        NotAPictureError: see `examine`.
    """
    wanted = _ENDINGS.get(ending.lower())
    if wanted is None or wanted == examine(data, max_pixels=max_pixels).media_type:
        return data
    out = BytesIO()
    with Pillow.open(BytesIO(data)) as picture:
        whole = _screen_colours(picture)
        if wanted in ("image/jpeg", "image/bmp"):
            ground = Pillow.new("RGBA", whole.size, "white")
            ground.alpha_composite(whole.convert("RGBA"))
            whole = ground.convert("RGB")
        whole.save(out, _WRITERS[wanted], quality=95)
    return embed(out.getvalue(), read_provenance(data))


def pixels(data: bytes, width: int, height: int, *, max_pixels: int = MAX_PIXELS) -> list[list[tuple[int, int, int]]]:
    """Rows of red, green and blue: the picture fitted into so many pixels, on black where it is transparent.

    Raises:
        NotAPictureError: see `examine`.
    """
    picture = _screen_colours(_decode(data, max_pixels).pixels)
    scale = min(width / picture.width, height / picture.height)
    small = picture.resize((max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))).convert("RGBA")
    ground = Pillow.new("RGBA", small.size, "black")
    ground.alpha_composite(small)
    flat = ground.convert("RGB").tobytes()
    colours = [(flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat), 3)]
    return [colours[start : start + small.width] for start in range(0, len(colours), small.width)]


# ---------------------------------------------------------------------- decoding

_ORIENTATION = 0x0112
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""What makes a picture upright, by the value of its EXIF orientation. From 5 on, width and height change places."""


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    media_type: str
    size: Size
    animated: bool
    orientation: int
    pixels: Pillow.Image
    """The first frame, not yet upright; a large JPEG already reduced."""


def _decode(data: bytes, max_pixels: int) -> _Decoded:
    try:
        picture = Pillow.open(BytesIO(data), formats=[name for name in _MEDIA_TYPES if name != "MPO"])
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as exc:
        raise _too_large(max_pixels) from exc
    except Exception as exc:  # given hostile bytes, decoders raise whatever their parsers trip over
        raise NotAPictureError(_described(data)) from exc
    width, height = picture.size
    if width * height > max_pixels:
        raise _too_large(max_pixels, f" of {width}x{height}")
    orientation = 1
    with suppress(Exception):  # a note that cannot be read is no reason to lose the picture
        orientation = picture.getexif().get(_ORIENTATION, 1)
    try:
        animated = picture.format in _MAY_MOVE and bool(getattr(picture, "is_animated", False))
        # A JPEG decodes several times faster at an eighth, a quarter or half of its size, and still to its last byte.
        picture.draft(None, (2 * _EDGE, 2 * _EDGE))
        picture.load()
    except Exception as exc:
        raise NotAPictureError(
            f"the picture is broken: it says it is {picture.format}, {width}x{height}, but cannot be decoded to its end ({exc})"
        ) from exc
    return _Decoded(
        media_type=_MEDIA_TYPES[picture.format or ""],
        size=Size(width=height, height=width) if orientation in (5, 6, 7, 8) else Size(width=width, height=height),
        animated=animated,
        orientation=orientation,
        pixels=picture,
    )


def _too_large(max_pixels: int, size: str = "") -> NotAPictureError:
    return NotAPictureError(f"the picture{size} is too large to be decoded safely; at most {max_pixels:,} pixels are taken")


_LOOKS = (
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg\b", re.DOTALL | re.IGNORECASE), "an SVG drawing"),
    (re.compile(rb"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE), "a web page (HTML)"),
    (re.compile(rb"\s*<\?xml"), "XML"),
    (re.compile(rb'\s*(\{\s*["}]|\[\s*[\[{"\]])'), "JSON"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"....ftyp(hei|mif|hev)", re.DOTALL), "a HEIC picture"),
    (re.compile(rb"....ftyp|\x1aE\xdf\xa3", re.DOTALL), "a video"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM|II\*\x00|MM\x00\*", re.DOTALL), "a picture whose header is broken"),
)


def _described(data: bytes) -> str:
    """What the bytes are instead of a picture, in a sentence."""
    if not data:
        return "there is no picture: the data is empty"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf")
    looks = next((words for pattern, words in _LOOKS if pattern.match(start)), None)
    if looks is None:
        looks = "text" if all(byte >= 32 or byte in b"\t\n\r\f" for byte in start) else "data of an unknown kind"
    return f"the data is no picture: it looks like {looks}. PNG, JPEG, WebP, GIF, BMP, AVIF and TIFF can be read"


def _facts(data: bytes, decoded: _Decoded) -> Facts:
    return Facts(
        media_type=decoded.media_type,
        size=decoded.size,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        animated=decoded.animated,
    )


# ---------------------------------------------------------------------- thumbnails

_HASHED_EDGE = 32
"""ThumbHash keeps seven waves each way; more pixels than this change its last digits only, and cost time."""

_MAX_PROFILE_BYTES = 8_000
"""Colour profiles of screens have a few hundred bytes; those of printers have hundreds of thousands."""


def _thumbnail(decoded: _Decoded, edge: int, max_bytes: int) -> Thumbnail:
    small = _fitted(_screen_colours(decoded.pixels), edge)
    if decoded.orientation in _TURNS:
        small = small.transpose(_TURNS[decoded.orientation])
    profile = _profile(decoded.pixels)
    while True:
        for quality in (80, 60, 40):
            out = BytesIO()
            small.save(out, "WEBP", quality=quality, icc_profile=profile)
            if out.tell() <= max_bytes or small.size == (1, 1):
                return Thumbnail(data=out.getvalue(), size=Size(width=small.width, height=small.height), thumbhash=_thumbhash(small))
        small = _fitted(small, max(1, max(small.size) * 3 // 4))


def _fitted(picture: Pillow.Image, edge: int) -> Pillow.Image:
    """The picture, made smaller where an edge is longer than that."""
    scale = edge / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=3.0)


def _screen_colours(picture: Pillow.Image) -> Pillow.Image:
    """RGB, or RGBA where anything can be seen through."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        # Grey in sixteen bits: Pillow would cut off what is brighter than eight can say.
        picture = picture.convert("I").point(lambda value: value / 256).convert("L")
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _profile(picture: Pillow.Image) -> bytes | None:
    """The colour profile, where it is still true of the thumbnail's colours."""
    profile = picture.info.get("icc_profile")
    fits = isinstance(profile, bytes) and len(profile) <= _MAX_PROFILE_BYTES and profile[16:20] == b"RGB "
    return profile if fits else None


def _thumbhash(picture: Pillow.Image) -> str:
    tiny = _fitted(picture, _HASHED_EDGE).convert("RGBA")
    return b64encode(bytes(rgba_to_thumb_hash(tiny.width, tiny.height, list(tiny.tobytes())))).decode()


# ---------------------------------------------------------------------- provenance
#
# One XMP packet (ISO 16684-1), which every format has a place for. What the world has a name for is written under that name,
# the rest under ours. Only containers are taken apart here; what holds the pixels is passed on as it is.

_NAMESPACE = "urn:image-gen-mcp-server:provenance:1"
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NAMESPACES = {
    "gen": _NAMESPACE,
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
_STANDARD = {
    "prompt": "dc:description",
    "attribution": "dc:rights",
    "software": "xmp:CreatorTool",
    "created": "xmp:CreateDate",
    "digital_source_type": "Iptc4xmpExt:DigitalSourceType",
}
"""https://developer.adobe.com/xmp/docs/XMPNamespaces/ and https://www.iptc.org/std/photometadata/specification/IPTC-PhotoMetadata"""

_OURS = re.compile(rf'<rdf:Description rdf:about="" xmlns:gen="{_NAMESPACE}".*?</rdf:Description>\s*', re.DOTALL)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def embed(data: bytes, provenance: Mapping[str, str]) -> bytes:
    """The same picture with its provenance written into the file; the compressed pixels stay byte for byte what they were.

    Known keys: prompt, attribution, software, created (ISO 8601), digital_source_type (the last part of the IPTC term's address). Any other
    key that is a plain identifier is kept, too. Characters that XML cannot hold become U+FFFD, and what is too long for a JPEG is cut.

    PNG, JPEG and WebP are written. Other formats come back unchanged, and so does a file with a C2PA manifest: it already carries
    the service's own signed provenance, and any change would break that signature (https://c2pa.org/specifications).
    """
    for write, _ in _CONTAINERS:
        with suppress(_NotThisError):
            return write(data, provenance)
    return data


def read_provenance(data: bytes) -> dict[str, str]:
    """What `embed` wrote; empty when it wrote nothing."""
    for _, read in _CONTAINERS:
        with suppress(_NotThisError):
            return _provenance_in(read(data))
    return {}


class _NotThisError(Exception):
    """The bytes are not of this container, or not built as it should be."""


def _packet(existing: str, provenance: Mapping[str, str]) -> bytes:
    """The XMP packet with ours in it, beside what others wrote; without it when there is nothing to say."""
    theirs = _OURS.sub("", existing)
    elements = []
    for key, value in provenance.items():
        if not key.isidentifier() or not key.isascii():
            raise ValueError(f"{key!r} is no name for a part of the provenance")
        name = _STANDARD.get(key)
        if name is None or name in theirs:  # a property may stand once
            name = f"gen:{key}"
        text = (_SOURCE_TYPES if name == _STANDARD["digital_source_type"] else "") + value
        text = escape(_NOT_XML.sub("\ufffd", text), quote=False).replace("\r", "&#13;")
        if name in ("dc:description", "dc:rights"):
            text = f'<rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt>'
        elements.append(f"<{name}>{text}</{name}>")
    spaces = " ".join(f'xmlns:{prefix}="{url}"' for prefix, url in _NAMESPACES.items())
    ours = f'<rdf:Description rdf:about="" {spaces} gen:version="1">{"".join(elements)}</rdf:Description>'
    before, end, after = theirs.rpartition("</rdf:RDF>")
    if end:
        return f"{before}{ours}{end}{after}".encode()
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">{ours}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _packet_within(limit: int, existing: str, provenance: Mapping[str, str]) -> bytes:
    """The packet in at most so many bytes: without what others wrote, if need be, and with the longest texts cut."""
    packet = _packet(existing, provenance)
    if len(packet) > limit:
        parts = dict(provenance)
        packet = _packet("", parts)
        while len(packet) > limit:
            longest = max(parts, key=lambda key: len(parts[key]))
            parts[longest] = parts[longest][: len(parts[longest]) * 7 // 8 - 1] + "…"
            packet = _packet("", parts)
    return packet


def _provenance_in(packet: str) -> dict[str, str]:
    if "<!" in packet:  # no XMP has declarations, and without them there are no entities to fill the memory with
        return {}
    try:
        root = Xml.fromstring(packet)  # noqa: S314
    except Xml.ParseError:
        return {}
    block = next((each for each in root.iter(f"{{{_RDF}}}Description") if f"{{{_NAMESPACE}}}version" in each.attrib), None)
    if block is None:
        return {}
    keys = {f"{{{_NAMESPACES[name.partition(':')[0]]}}}{name.partition(':')[2]}": key for key, name in _STANDARD.items()}
    found = {keys.get(part.tag) or part.tag.partition("}")[2]: "".join(part.itertext()) for part in block}
    return {key: value.removeprefix(_SOURCE_TYPES) if key == "digital_source_type" else value for key, value in found.items()}


# PNG: https://www.w3.org/TR/png-3/ ; C2PA manifests are in a chunk `caBX`.

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
_PNG_TEXTS = {"Description": "prompt", "Software": "software"}
"""The specification's own keywords, for the many programs that know no XMP."""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Type, content, and the whole of each chunk up to the last."""
    if not data.startswith(_PNG):
        raise _NotThisError
    view = memoryview(data)
    at = len(_PNG)
    kind = b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise _NotThisError
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise _NotThisError
        yield kind, view[at + 8 : end - 4], view[at:end]
        at = end


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_text(keyword: str, text: str) -> bytes:
    return _png_chunk(b"iTXt", keyword.encode() + b"\0\0\0\0\0" + _NOT_XML.sub("\ufffd", text).encode())


def _embed_png(data: bytes, provenance: Mapping[str, str]) -> bytes:
    chunks = list(_png_chunks(data))
    if any(kind == b"caBX" for kind, _, _ in chunks):
        return data
    existing = _xmp_of_png(data)
    ours_before = bool(_OURS.search(existing))
    obsolete = [_PNG_XMP] + [f"{keyword}\0".encode() for keyword in _PNG_TEXTS if ours_before]
    kept = [whole for kind, content, whole in chunks if not (kind == b"iTXt" and bytes(content[:80]).startswith(tuple(obsolete)))]
    texts = [_png_text(keyword, provenance[key]) for keyword, key in _PNG_TEXTS.items() if key in provenance]
    xmp = _png_chunk(b"iTXt", _PNG_XMP + _packet(existing, provenance))
    end = sum(len(whole) for _, _, whole in chunks) + len(_PNG)
    return b"".join([_PNG, kept[0], *texts, xmp, *kept[1:], memoryview(data)[end:]])


def _xmp_of_png(data: bytes) -> str:
    packets = (content[len(_PNG_XMP) :] for kind, content, _ in _png_chunks(data) if kind == b"iTXt" and content[: len(_PNG_XMP)] == _PNG_XMP)
    return str(next(packets, b""), "utf-8", "replace")


# JPEG: ISO 10918-1 and, for the places of XMP and C2PA, part 3 of the XMP specification and APP11.

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Marker, content, and the whole of each segment before the pixels."""
    if not data.startswith(b"\xff\xd8"):
        raise _NotThisError
    view = memoryview(data)
    start = 2
    while True:
        at = start
        while data[at : at + 2] == b"\xff\xff":  # fill
            at += 1
        if at + 4 > len(data) or data[at] != 0xFF:
            raise _NotThisError
        marker = data[at + 1]
        if marker in (0xDA, 0xD9):  # the pixels, or the end without any
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not at + 4 <= end <= len(data):
            raise _NotThisError
        yield marker, view[at + 4 : end], view[start:end]
        start = end


def _embed_jpeg(data: bytes, provenance: Mapping[str, str]) -> bytes:
    segments = list(_jpeg_segments(data))
    if any(marker == 0xEB and b"c2pa" in bytes(content) for marker, content, _ in segments):
        return data
    packet = _packet_within(65_533 - len(_JPEG_XMP), _xmp_of_jpeg(data), provenance)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(_JPEG_XMP) + len(packet)) + _JPEG_XMP + packet
    pieces: list[bytes | memoryview] = [b"\xff\xd8"]
    placed = False
    for marker, content, whole in segments:
        if marker == 0xE1 and content[: len(_JPEG_XMP)] == _JPEG_XMP:
            continue
        if not placed and not (marker == 0xE0 or (marker == 0xE1 and bytes(content[:4]) == b"Exif")):  # those two want to be first
            pieces.append(segment)
            placed = True
        pieces.append(whole)
    if not placed:
        pieces.append(segment)
    rest = 2 + sum(len(whole) for _, _, whole in segments)
    return b"".join([*pieces, memoryview(data)[rest:]])


def _xmp_of_jpeg(data: bytes) -> str:
    packets = (content[len(_JPEG_XMP) :] for marker, content, _ in _jpeg_segments(data) if marker == 0xE1 and content[: len(_JPEG_XMP)] == _JPEG_XMP)
    return str(next(packets, b""), "utf-8", "replace")


# WebP: https://developers.google.com/speed/webp/docs/riff_container

_HAS_XMP = 0x04
_HAS_ALPHA = 0x10


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Type, content, and the whole of each chunk with its padding."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise _NotThisError
    view = memoryview(data)
    at, last = 12, 8 + int.from_bytes(data[4:8], "little")
    if last > len(data):
        raise _NotThisError
    while at < last:
        if at + 8 > last:
            raise _NotThisError
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if end > last:
            raise _NotThisError
        yield kind, view[at + 8 : at + 8 + length], view[at:end]
        at = end


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _embed_webp(data: bytes, provenance: Mapping[str, str]) -> bytes:
    chunks = list(_webp_chunks(data))
    if not chunks or any(kind == b"C2PA" for kind, _, _ in chunks):
        return data
    kind, content, _ = chunks[0]
    header = bytearray(content) if kind == b"VP8X" else _webp_header(kind, content)
    if len(header) != 10:
        raise _NotThisError
    header[0] |= _HAS_XMP
    xmp = _webp_chunk(b"XMP ", _packet(_xmp_of_webp(data), provenance))
    kept = [whole for kind, _, whole in chunks if kind not in (b"VP8X", b"XMP ")]
    body: list[bytes | memoryview] = [b"WEBP", _webp_chunk(b"VP8X", bytes(header)), *kept, xmp]
    end = 12 + sum(len(whole) for _, _, whole in chunks)
    return b"".join([b"RIFF", struct.pack("<I", sum(map(len, body))), *body, memoryview(data)[end:]])


def _webp_header(kind: bytes, content: memoryview) -> bytearray:
    """The header that a file with metadata needs, for one that did without."""
    flags = 0
    if kind == b"VP8L" and len(content) >= 5 and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        width, height = bits & 0x3FFF, (bits >> 14) & 0x3FFF  # both less one, as in the header
        flags = _HAS_ALPHA if bits >> 28 & 1 else 0
    elif kind == b"VP8 " and len(content) >= 10:
        width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        width, height = width - 1, height - 1
    else:
        raise _NotThisError
    return bytearray(bytes([flags, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little"))


def _xmp_of_webp(data: bytes) -> str:
    return str(next((content for kind, content, _ in _webp_chunks(data) if kind == b"XMP "), b""), "utf-8", "replace")


_CONTAINERS: tuple[tuple[Callable[[bytes, Mapping[str, str]], bytes], Callable[[bytes], str]], ...] = (
    (_embed_png, _xmp_of_png),
    (_embed_jpeg, _xmp_of_jpeg),
    (_embed_webp, _xmp_of_webp),
)
