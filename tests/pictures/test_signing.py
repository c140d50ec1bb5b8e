"""Content credentials: written where the operator has a certificate, and checked."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from mcp_image_server.errors import ConfigError, RequestError
from mcp_image_server.models import Caller, ImageRequest
from mcp_image_server.pictures import (
    Ingredient,
    Manifest,
    Signing,
    Story,
    can_sign,
    embed,
    examine,
    inspect,
    read_manifest,
    read_provenance,
    sign,
    try_signing,
)
from mcp_image_server.transforming import Transformation
from tests.certificates import a_chain
from tests.conftest import studio_with
from tests.easel import Easel
from tests.pictures.made import encoded, noise, opened, same, scene

installed = pytest.mark.skipif(not can_sign(), reason="the extra `c2pa` is not installed")

STORY = Story(title="a fox", agent="An engine 1", digital_source_type="trainedAlgorithmicMedia")
ME = Caller()


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Signing:
    certificate, key = a_chain(tmp_path_factory.mktemp("certificates"))
    return Signing(certificate=certificate, key=key)


def known(actions: tuple[str, ...], kind: str = "trainedAlgorithmicMedia", *, ingredients: int = 0) -> Manifest:
    from mcp_image_server import __version__

    return Manifest(
        state="Valid",
        signer="Signer of a test, Test",
        generator=f"image-gen-mcp-server {__version__}",
        actions=actions,
        digital_source_type=kind,
        ingredients=ingredients,
        problems=("signingCredential.untrusted",),
    )


@installed
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "avif"])
def test_a_signed_picture_tells_how_it_came_about(signing: Signing, kind: str) -> None:
    data = embed(encoded(scene(), kind), {"prompt": "a fox"})
    signed = sign(data, f"image/{kind}", signing, STORY)
    assert read_manifest(signed, f"image/{kind}") == known(("c2pa.created",))
    assert same(opened(signed), opened(data))
    assert read_provenance(signed) == read_provenance(data)
    assert read_manifest(data, f"image/{kind}") is None


@installed
def test_a_picture_changed_after_it_was_signed_says_so(signing: Signing) -> None:
    signed = bytearray(sign(encoded(scene(), "PNG"), "image/png", signing, STORY))
    signed[signed.index(b"IDAT") + 20] ^= 1
    manifest = read_manifest(bytes(signed), "image/png")
    assert manifest is not None
    assert (manifest.state, "assertion.dataHash.mismatch" in manifest.problems) == ("Invalid", True)


@installed
def test_what_went_in_is_named(signing: Signing) -> None:
    first = sign(encoded(scene(), "PNG"), "image/png", signing, STORY)
    for how, actions, kind in (
        ("parentOf", ("c2pa.opened", "c2pa.edited"), ""),
        ("componentOf", ("c2pa.created", "c2pa.placed"), "trainedAlgorithmicMedia"),
        ("inputTo", ("c2pa.created",), "trainedAlgorithmicMedia"),
    ):
        ingredient = Ingredient(data=first, media_type="image/png", how=how)  # type: ignore[arg-type] # a loop loses literals
        story = Story(title="two", agent="a hand", digital_source_type="trainedAlgorithmicMedia", ingredients=(ingredient,))
        second = sign(encoded(scene(), "JPEG"), "image/jpeg", signing, story)
        assert read_manifest(second, "image/jpeg") == known(actions, kind, ingredients=1)


@installed
def test_the_signature_of_a_service_stays(signing: Signing) -> None:
    first = sign(encoded(scene(), "PNG"), "image/png", signing, STORY)
    assert sign(first, "image/png", signing, STORY) is first


@installed
def test_what_cannot_be_signed_is_said(signing: Signing, tmp_path: Path) -> None:
    try_signing(signing)
    (tmp_path / "bad.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for key, words in ((tmp_path / "none.pem", "none.pem cannot be read"), (tmp_path / "bad.pem", "signing it failed")):
        with pytest.raises(ConfigError, match=words):
            try_signing(Signing(certificate=signing.certificate, key=key))


def test_bytes_that_are_no_picture_have_no_manifest() -> None:
    for data in (b"", b"no picture", encoded(scene(), "PNG")):
        assert read_manifest(data, "image/png") is None


@installed
@pytest.mark.anyio
async def test_pictures_are_stored_signed_and_so_is_what_is_made_of_them(signing: Signing, easel: Easel, tmp_path: Path) -> None:
    environment = {
        "MCP_DATA_DIR": str(tmp_path / "data"),
        "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures"),
        "MCP_C2PA_CERTIFICATE": str(signing.certificate),
        "MCP_C2PA_KEY": str(signing.key),
        "MCP_C2PA_ALG": "ES256",
    }
    async with studio_with({"easel": easel}, environment) as studio:
        job = await studio.generate(ME, ImageRequest(prompt="a cat", seed=7))
        (image,) = job.images
        data = await studio.images.read(image)
        assert job.adjustments == ()
        assert (examine(data).sha256, len(data)) == (image.sha256, image.size_bytes)
        found = inspect(data)
        assert (found.manifest, found.provenance["prompt"]) == (known(("c2pa.created",)), "a cat")
        small = (await studio.transform(ME, Transformation(images=(b64encode(encoded(noise(200, 200), "PNG")).decode(),), max_bytes="30kB"))).job
        assert small is not None
        assert read_manifest(await studio.images.read(small.images[0]), "image/jpeg") is not None
        assert 20_000 < small.images[0].size_bytes <= 30_000
        with pytest.raises(RequestError, match="its signature alone takes"):
            await studio.transform(ME, Transformation(images=(image.id,), rotate=90, max_bytes="2kB"))
        turned = (await studio.transform(ME, Transformation(images=(image.id,), rotate=90))).job
        assert turned is not None
        assert read_manifest(await studio.images.read(turned.images[0]), "image/png") == known(("c2pa.opened", "c2pa.edited"), "", ingredients=1)
        assert (await studio.upkeep.verify(ME)).ok
        assert [check.ok async for check in studio.upkeep.doctor(ME) if check.name == "signing"] == [True]


@pytest.mark.anyio
async def test_a_picture_that_cannot_be_signed_is_stored_all_the_same(easel: Easel, tmp_path: Path) -> None:
    environment = {
        "MCP_DATA_DIR": str(tmp_path / "data"),
        "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures"),
        "MCP_C2PA_CERTIFICATE": str(tmp_path / "none.pem"),
        "MCP_C2PA_KEY": str(tmp_path / "none.key"),
    }
    async with studio_with({"easel": easel}, environment) as studio:
        job = await studio.generate(ME, ImageRequest(prompt="a cat", count=2))
        (word,) = job.adjustments
        assert (word.field, "stored without a signature" in word.message, len(job.images)) == ("signature", True, 2)
        assert (await studio.upkeep.verify(ME)).ok
        assert [check.ok async for check in studio.upkeep.doctor(ME) if check.name == "signing"] == [False]
