"""Where a picture comes from, written into its file and read back.

One XMP packet (ISO 16684-1), which every format has a place for. What the world has a name for is written under that name, the rest under ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
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
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
}
_STANDARD = {
    "prompt": "dc:description",
    "attribution": "dc:rights",
    "software": "xmp:CreatorTool",
    "created": "xmp:CreateDate",
    "digital_source_type": "Iptc4xmpExt:DigitalSourceType",
    "aigc": "TC260:AIGC",
}
"""https://developer.adobe.com/xmp/docs/XMPNamespaces/, https://www.iptc.org/std/photometadata/specification/IPTC-PhotoMetadata, and for the last one
TC260-PG-20258A, which says where GB 45438-2025 wants its label in pictures (https://www.tc260.org.cn/front/postDetail.html?id=20250828165129)"""

_KEYWORDS = {"Description": "prompt", "Software": "software"}
"""Plain words for the many programs that know no XMP, under the keywords of the PNG specification."""

_OURS = re.compile(rf'<rdf:Description rdf:about="" xmlns:gen="{_NAMESPACE}".*?(?:</rdf:Description>\s*|\Z)', re.DOTALL)


def embed(data: bytes, provenance: Mapping[str, str]) -> bytes:
    """The same picture with its provenance written into the file; the compressed pixels stay byte for byte what they were.

    Known keys: prompt, attribution, software, created (ISO 8601), digital_source_type (the last part of the IPTC term's address), aigc (see
    `aigc_label`). Any other key that is a plain identifier is kept, too. Characters that XML cannot hold become U+FFFD, and what is too long for a
    JPEG is cut. A file has one label at most, so one that somebody else wrote stays, and ours is left out.

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
        if "aigc" in provenance and _label_in(_OURS.sub("", existing), container.notes(data)):
            provenance = {key: value for key, value in provenance.items() if key != "aigc"}
        packet = _packet_within(container.room, existing, provenance)
        texts = {keyword: provenance[key] for keyword, key in _KEYWORDS.items() if key in provenance}
        return container.with_xmp(data, packet, texts, obsolete=bool(_OURS.search(existing)))
    except BrokenError:
        return data


def read_provenance(data: bytes) -> dict[str, str]:
    """What `embed` wrote, or `packet`; empty when they wrote nothing."""
    return _provenance_in(_xmp_of(data))


def packet(provenance: Mapping[str, str]) -> bytes:
    """The XMP packet that `embed` writes, for a format whose encoder takes one."""
    return _packet("", provenance)


def carried_over(result: bytes, *sources: bytes) -> bytes:
    """A picture that was made of others, with what is to be `carried` over."""
    provenance = carried(*sources)
    return embed(result, provenance) if provenance else result


def carried(*sources: bytes) -> dict[str, str]:
    """What the files of pictures say that must also be said of a picture made of them: our provenance where it is one, and anybody's labels."""
    told = [{**read_labels(source), **read_provenance(source)} for source in sources]
    if len(told) == 1:
        provenance = told[0]
    else:
        kinds = {each.get("digital_source_type", "") for each in told}
        trained = "compositeWithTrainedAlgorithmicMedia" if any("rainedAlgorithmicMedia" in kind for kind in kinds) else ""
        label = next((each["aigc"] for each in told if "aigc" in each), "")
        provenance = {"aigc": label, "digital_source_type": kinds.pop() if len(kinds) == 1 else trained}
    return {key: value for key, value in provenance.items() if value}


# Labels ---------------------------------------------------------------------------------------------------------------------------------------


def aigc_label(producer: str, number: str) -> str:
    """The implicit label of a generated picture as annex E of GB 45438-2025 wants it: JSON of seven elements, of which nothing is known about a propagator.

    Args:
        producer: name or code of who runs the service that generates.
        number: the producer's own number of this picture.
    """
    elements = {
        "Label": "1",  # is generated; 2 and 3 are for those who find a picture and can only suppose it
        "ContentProducer": producer,
        "ProduceID": number,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return json.dumps(elements, ensure_ascii=False, separators=(",", ":"))


def read_labels(data: bytes) -> dict[str, str]:
    """What anybody wrote into the file of how the picture came about: `aigc`, and `digital_source_type` as for `embed`; empty when nobody did.

    A manifest of C2PA is looked through for its words; whether it is true is not asked.
    """
    container = container_of(data)
    try:
        notes = list(container.notes(data)) if container is not None else [data]
    except BrokenError:
        return {}
    kinds = [kind.decode() for note in notes for kind in _SOURCE_TYPE.findall(note)]
    trained = [kind for kind in kinds if "rainedAlgorithmicMedia" in kind]
    labels = {"aigc": _label_in(_xmp_of(data), notes), "digital_source_type": next(iter([*trained, *kinds]), "")}
    return {key: value for key, value in labels.items() if value}


_SOURCE_TYPE = re.compile(
    rb"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|compositeSynthetic|compositeCapture|composite|algorithmicMedia"
    rb"|algorithmicallyEnhanced|dataDrivenMedia|virtualRecording|digitalCreation|minorHumanEdits|humanEdits|digitalCapture|computationalCapture"
    rb"|negativeFilm|positiveFilm|print|screenCapture)"
)
"""The terms one by one, since in a manifest a letter may follow that belongs to something else."""

_LABEL = re.compile(r"\{[^{}]{0,6000}\}")
"""What may be one: an object that holds no other. It is gone through once, also where braces are many."""


def _label_in(xmp: str, notes: Iterable[bytes]) -> str:
    """The label in the packet, else in any other note: some write it into EXIF, or under a keyword of PNG."""
    written = next((value for name, value in _properties(xmp) if name == f"{{{_NAMESPACES['TC260']}}}AIGC"), "")
    if written:
        return written
    others = (str(note, "utf-8", "replace") for note in notes if b'"ContentProducer"' in note and b"<x:xmpmeta" not in note)
    return next((found[0] for note in others for found in _LABEL.finditer(note) if _is_label(found[0])), "")


def _is_label(words: str) -> bool:
    try:
        return '"ContentProducer"' in words and str(json.loads(words).get("Label")) in ("1", "2", "3")
    except (ValueError, RecursionError):
        return False


def read_xmp(data: bytes) -> dict[str, str]:
    """Every property of the XMP packet, by its name with the usual prefix where we know it."""
    prefixes = {url: prefix for prefix, url in _NAMESPACES.items()}
    found = {}
    for name, value in _properties(_xmp_of(data)):
        url, _, local = name.removeprefix("{").rpartition("}")
        found[f"{prefixes[url]}:{local}" if url in prefixes else name] = value
    return found


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


_PACKET, _PACKET_END = b"<x:xmpmeta", b"</x:xmpmeta>"

_MAX_PACKET = 200_000


def _xmp_of(data: bytes) -> str:
    """The XMP packet; in a format that is not taken apart it is found by its own marks, as the specification of XMP means it to be."""
    container = container_of(data)
    try:
        if container is not None:
            return container.xmp(data)
    except BrokenError:
        return ""
    end = data.find(_PACKET_END)
    begin = data.rfind(_PACKET, max(0, end - _MAX_PACKET), end) if end >= 0 else -1
    return str(data[begin : end + len(_PACKET_END)], "utf-8", "replace") if begin >= 0 else ""


def _descriptions(packet: str) -> list[Xml.Element]:
    """The parts of the packet that say something; none where it is not XML."""
    if "<!" in packet:  # no XMP has declarations, and without them there are no entities to fill the memory with
        return []
    try:
        return list(Xml.fromstring(packet).iter(f"{{{_RDF}}}Description"))  # noqa: S314
    except Xml.ParseError:
        return []


def _properties(packet: str) -> Iterator[tuple[str, str]]:
    """Name and words of everything that the packet says, whether as attributes or as elements."""
    for block in _descriptions(packet):
        yield from ((name, value) for name, value in block.attrib.items() if not name.startswith(f"{{{_RDF}}}"))
        yield from ((part.tag, "".join(part.itertext()).strip()) for part in block)


def _provenance_in(packet: str) -> dict[str, str]:
    block = next((each for each in _descriptions(packet) if f"{{{_NAMESPACE}}}version" in each.attrib), None)
    if block is None:
        return {}
    keys = {f"{{{_NAMESPACES[name.partition(':')[0]]}}}{name.partition(':')[2]}": key for key, name in _STANDARD.items()}
    found = {keys.get(part.tag) or part.tag.partition("}")[2]: "".join(part.itertext()) for part in block}
    return {key: value.removeprefix(_SOURCE_TYPES) if key == "digital_source_type" else value for key, value in found.items()}
