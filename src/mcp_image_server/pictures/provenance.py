"""Where a picture comes from, written into its file and read back.

One XMP packet (ISO 16684-1), which every format has a place for. What the world has a name for is written under that name, the rest under ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from xml.etree import ElementTree as Xml

from .containers import BrokenError, container_of, text

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

_KEYWORDS = {"Description": "prompt", "Software": "software"}
"""Plain words for the many programs that know no XMP, under the keywords of the PNG specification."""

_OURS = re.compile(rf'<rdf:Description rdf:about="" xmlns:gen="{_NAMESPACE}".*?</rdf:Description>\s*', re.DOTALL)


def embed(data: bytes, provenance: Mapping[str, str]) -> bytes:
    """The same picture with its provenance written into the file; the compressed pixels stay byte for byte what they were.

    Known keys: prompt, attribution, software, created (ISO 8601), digital_source_type (the last part of the IPTC term's address). Any other
    key that is a plain identifier is kept, too. Characters that XML cannot hold become U+FFFD, and what is too long for a JPEG is cut.

    PNG, JPEG and WebP are written. Other formats come back unchanged, and so does a file with a C2PA manifest: it already carries
    the service's own signed provenance, and any change would break that signature (https://c2pa.org/specifications).
    """
    container = container_of(data)
    if container is None:
        return data
    try:
        if container.is_signed(data):
            return data
        existing = container.xmp(data)
        packet = _packet_within(container.room, existing, provenance)
        texts = {keyword: provenance[key] for keyword, key in _KEYWORDS.items() if key in provenance}
        return container.with_xmp(data, packet, texts, obsolete=bool(_OURS.search(existing)))
    except BrokenError:
        return data


def read_provenance(data: bytes) -> dict[str, str]:
    """What `embed` wrote; empty when it wrote nothing."""
    container = container_of(data)
    try:
        return _provenance_in(container.xmp(data)) if container is not None else {}
    except BrokenError:
        return {}


def carried_over(result: bytes, source: bytes) -> bytes:
    """A picture that was made of another one, with the provenance of that one where it has some."""
    provenance = read_provenance(source)
    return embed(result, provenance) if provenance else result


def _packet(existing: str, provenance: Mapping[str, str]) -> bytes:
    """The XMP packet with ours in it, beside what others wrote."""
    theirs = _OURS.sub("", existing)
    elements = []
    for key, value in provenance.items():
        if not key.isidentifier() or not key.isascii():
            raise ValueError(f"{key!r} is no name for a part of the provenance")
        name = _STANDARD.get(key)
        if name is None or name in theirs:  # a property may stand once
            name = f"gen:{key}"
        words = (_SOURCE_TYPES if name == _STANDARD["digital_source_type"] else "") + value
        words = escape(text(words), quote=False).replace("\r", "&#13;")
        if name in ("dc:description", "dc:rights"):
            words = f'<rdf:Alt><rdf:li xml:lang="x-default">{words}</rdf:li></rdf:Alt>'
        elements.append(f"<{name}>{words}</{name}>")
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
