"""Content credentials: signed manifests (https://spec.c2pa.org) that tell how a picture came about, written into its file and read back.

`c2pa-python` does it, an extra: it is large, and most servers have no certificate. Nothing is fetched from the network.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..errors import ConfigError
from .containers import BrokenError, container_of

Algorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True, kw_only=True)
class Signing:
    """With what is signed. The files are read for each picture, so that a renewed certificate counts at once."""

    certificate: Path
    """PEM: the signer's certificate, then those between it and the root."""
    key: Path
    """PEM: the private key of the first."""
    algorithm: Algorithm = "es256"


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """A picture that went into another one."""

    data: bytes = field(repr=False)
    media_type: str
    how: Literal["parentOf", "componentOf", "inputTo"]
    """The picture was changed; it was placed in the new one; a model looked at it."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a manifest tells."""

    title: str
    agent: str
    """Who made or changed the picture."""
    digital_source_type: str = ""
    """How it came about, in the words of https://cv.iptc.org/newscodes/digitalsourcetype/; needed where it is not a changed one."""
    ingredients: tuple[Ingredient, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a file's signed manifest says, and whether it holds."""

    state: str
    """`Trusted`; `Valid`: the file is as it was signed, by somebody we know nothing of; or `Invalid`."""
    signer: str
    """As the certificate names it."""
    generator: str
    actions: tuple[str, ...]
    digital_source_type: str
    ingredients: int
    problems: tuple[str, ...] = ()
    """Codes of https://spec.c2pa.org for what is wrong or not trusted."""


def can_sign() -> bool:
    """Whether what signs and checks is installed."""
    return find_spec("c2pa") is not None


def sign(data: bytes, media_type: str, signing: Signing, story: Story) -> bytes:
    """The picture with a signed manifest; as it is where it has one already, since that is the service's own.

    Raises:
        ConfigError: it cannot be signed; the message says why.
    """
    if has_manifest(data):
        return data
    if not can_sign():
        raise ConfigError("signing needs c2pa: `pip install 'image-gen-mcp-server[c2pa]'`")
    c2pa: Any = import_module("c2pa")
    try:
        certificate, key = signing.certificate.read_bytes(), signing.key.read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}; MCP_C2PA_CERTIFICATE and MCP_C2PA_KEY name the two files") from error
    try:
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(signing.algorithm.encode(), certificate, key, None))
        signed = BytesIO()
        with signer, c2pa.Context.from_dict(_OFFLINE) as context, c2pa.Builder(_definition(story), context=context) as builder:
            for index, ingredient in enumerate(story.ingredients):
                words = {"title": f"picture {index + 1}", "relationship": ingredient.how, "instance_id": _label(index)}
                builder.add_ingredient(words, ingredient.media_type, BytesIO(ingredient.data))
            builder.sign(signer, media_type, BytesIO(data), signed)
    except Exception as error:  # whatever the native library trips over: the picture is worth more than its signature
        raise ConfigError(f"signing it failed: {error}; look at MCP_C2PA_CERTIFICATE, MCP_C2PA_KEY and MCP_C2PA_ALG") from error
    return signed.getvalue()


def try_signing(signing: Signing) -> None:
    """Passes when pictures can be signed; tried with one of a single point.

    Raises:
        ConfigError: they cannot; the message says why.
    """
    sign(_POINT, "image/gif", signing, Story(title="trial", agent="image-gen-mcp-server", digital_source_type="algorithmicMedia"))


_POINT = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def has_manifest(data: bytes) -> bool:
    """Whether a PNG, JPEG or WebP has a signed manifest; it is not checked."""
    container = container_of(data)
    try:
        return container is not None and container.is_signed(data)
    except BrokenError:
        return False


def _definition(story: Story) -> dict[str, Any]:
    agent = {"name": story.agent}
    parents, placed, seen = (_labels(story.ingredients, how) for how in ("parentOf", "componentOf", "inputTo"))
    if parents:
        actions: list[dict[str, Any]] = [
            {"action": "c2pa.opened", "parameters": {"ingredientIds": parents}},
            {"action": "c2pa.edited", "softwareAgent": agent},
        ]
    else:
        created: dict[str, Any] = {"action": "c2pa.created", "softwareAgent": agent, "digitalSourceType": _SOURCE_TYPES + story.digital_source_type}
        actions = [{**created, "parameters": {"ingredientIds": seen}} if seen else created]
        actions += [{"action": "c2pa.placed", "parameters": {"ingredientIds": [label]}} for label in placed]
    return {
        "title": story.title,
        "claim_generator_info": [{"name": "image-gen-mcp-server", "version": __version__}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _labels(ingredients: Sequence[Ingredient], how: str) -> list[str]:
    return [_label(index) for index, ingredient in enumerate(ingredients) if ingredient.how == how]


def _label(index: int) -> str:
    return f"ingredient-{index + 1}"


def read_manifest(data: bytes, media_type: str) -> Manifest | None:
    """What the signed manifest says; None where there is none, or where `can_sign` is false."""
    if not can_sign():
        return None
    c2pa: Any = import_module("c2pa")
    try:
        with c2pa.Context.from_dict(_OFFLINE) as context:
            reader = c2pa.Reader.try_create(media_type, BytesIO(data), context=context)
            if reader is None:
                return None
            with reader:
                whole = json.loads(reader.json())
                state = str(reader.get_validation_state() or "Invalid")
    except c2pa.C2paError as error:
        if not has_manifest(data):  # such as a format that has no place for one
            return None
        return Manifest(state="Invalid", signer="", generator="", actions=(), digital_source_type="", ingredients=0, problems=(str(error),))
    active = whole.get("manifests", {}).get(whole.get("active_manifest"), {})
    actions = [
        action
        for assertion in active.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", [])
    ]
    signature = active.get("signature_info", {})
    kind = next((str(action["digitalSourceType"]) for action in actions if action.get("digitalSourceType")), "")
    return Manifest(
        state=state,
        signer=", ".join(str(signature[part]) for part in ("common_name", "issuer") if signature.get(part)),
        generator=" ".join(str(part) for part in _generator(active) if part),
        actions=tuple(str(action.get("action", "")) for action in actions),
        digital_source_type=kind.rpartition("/")[2],
        ingredients=len(active.get("ingredients", [])),
        problems=tuple(dict.fromkeys(str(status.get("code", "")) for status in whole.get("validation_status", []))),
    )


def _generator(manifest: dict[str, Any]) -> tuple[Any, Any]:
    info: dict[str, Any] = next(iter(manifest.get("claim_generator_info") or []), {})
    return info.get("name") or manifest.get("claim_generator"), info.get("version")
