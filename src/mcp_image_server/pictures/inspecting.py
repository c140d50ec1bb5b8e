"""Everything that a picture's file says, for people who ask where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags

from .examining import Facts, decode, facts
from .provenance import read_labels, read_provenance, read_xmp
from .signing import Manifest, can_sign, has_manifest, read_manifest

MAX_WORDS = 4000
"""Most characters of one value."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file says about itself. Nothing of it but the manifest can be proved."""

    facts: Facts
    provenance: Mapping[str, str]
    """What this server wrote."""
    digital_source_type: str
    """How it came about, as anybody says, in the words of https://cv.iptc.org/newscodes/digitalsourcetype/."""
    aigc: Mapping[str, Any]
    """The label of GB 45438-2025; empty where there is none."""
    xmp: Mapping[str, str]
    exif: Mapping[str, str]
    texts: Mapping[str, str]
    """Keywords of a PNG, comments of a JPEG or GIF."""
    signed: bool
    """There is a manifest of C2PA."""
    manifest: Manifest | None
    """None also where nothing is installed that could check it."""
    checked: bool
    """Whether manifests can be checked here."""


def inspect(data: bytes) -> Inspection:
    """Everything that the file says.

    Raises:
        NotAPictureError: see `examine`.
    """
    decoded = decode(data, edge=1)
    exif, texts = _exif(decoded.pixels), _texts(decoded.pixels)
    labels = read_labels(data)
    manifest = read_manifest(data, decoded.media_type)
    return Inspection(
        facts=facts(data, decoded),
        provenance=read_provenance(data),
        digital_source_type=labels.get("digital_source_type", ""),
        aigc=_elements(labels.get("aigc", "")),
        xmp={name: value[:MAX_WORDS] for name, value in read_xmp(data).items()},
        exif=exif,
        texts=texts,
        signed=manifest is not None or has_manifest(data),
        manifest=manifest,
        checked=can_sign(),
    )


def _elements(label: str) -> Mapping[str, Any]:
    """The label's elements; where it is no JSON, the words as they are."""
    if not label:
        return {}
    with suppress(ValueError, RecursionError):
        found = json.loads(label)
        if isinstance(found, dict):
            return found
    return {"words": label[:MAX_WORDS]}


def _exif(picture: Any) -> dict[str, str]:
    """Notes by their names in the specification."""
    found: dict[str, str] = {}
    with suppress(Exception):  # what cannot be read is not worth the rest
        notes = picture.getexif()
        parts = [(ExifTags.TAGS, notes), (ExifTags.TAGS, notes.get_ifd(ExifTags.IFD.Exif)), (ExifTags.GPSTAGS, notes.get_ifd(ExifTags.IFD.GPSInfo))]
        for names, part in parts:
            for number, value in part.items():
                if number not in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                    found[names.get(number, f"0x{number:04x}")] = _words(value)
    return found


_NO_TEXTS = ("xmp", "XML:com.adobe.xmp", "exif", "icc_profile", "Raw profile type exif", "transparency", "background")


def _texts(picture: Any) -> dict[str, str]:
    return {name: _words(value) for name, value in picture.info.items() if name not in _NO_TEXTS and isinstance(value, str | bytes)}


def _words(value: object) -> str:
    if isinstance(value, bytes):
        value = str(value.removeprefix(b"ASCII\0\0\0").removeprefix(b"UNICODE\0").strip(b"\0"), "utf-8", "replace")
    return str(value)[:MAX_WORDS]
