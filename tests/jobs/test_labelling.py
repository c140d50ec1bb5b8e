"""What stands in the files of pictures about where they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcp_image_server import __version__
from mcp_image_server.errors import ConfigError
from mcp_image_server.models import Caller, Generated, ImageRequest
from mcp_image_server.pictures import aigc_label, read_provenance
from mcp_image_server.providers import Context
from mcp_image_server.settings import Settings, parse
from tests.conftest import studio_with
from tests.easel import CATALOGUE, Easel, draw
from tests.pictures.made import png_chunk, png_with

pytestmark = pytest.mark.anyio

ME = Caller()


async def told(easel: Easel, folder: Path, **settings: str) -> dict[str, str]:
    """What the file of a picture says."""
    environment = {"MCP_DATA_DIR": str(folder / "data"), "MCP_IMAGE_SAVE_DIR": str(folder / "pictures"), **settings}
    async with studio_with({"easel": easel}, environment) as studio:
        (image,) = (await studio.generate(ME, ImageRequest(prompt="a cat", seed=7))).images
        data = await studio.images.read(image)
        return {**read_provenance(data), "id": image.id}


async def labelled_by_the_service(request: ImageRequest, context: Context) -> Generated:
    """A service that writes a label itself."""
    (one,) = draw(request).images
    chunk = png_chunk(b"tEXt", b"AIGC\0" + aigc_label("the service", "s-1").encode())
    return Generated(images=(replace(one, data=png_with(one.data, chunk)),))


async def test_a_file_tells_who_drew_it_when_with_what_words_and_that_it_is_generated(easel: Easel, tmp_path: Path) -> None:
    found = await told(easel, tmp_path)
    identity, created = found.pop("id"), found.pop("created")
    assert created.endswith("+00:00")
    assert found == {
        "prompt": "a cat",
        "provider": "easel",
        "model": "easel-1",
        "seed": "7",
        "job_id": identity.removesuffix("-1"),
        "software": f"image-gen-mcp-server {__version__}",
        "digital_source_type": "trainedAlgorithmicMedia",
        "aigc": aigc_label("A test's easel", identity),
    }


async def test_the_prompt_can_be_left_out_and_the_producer_be_named(easel: Easel, tmp_path: Path) -> None:
    found = await told(easel, tmp_path, MCP_PROVENANCE_PROMPT="false", MCP_AIGC_PRODUCER="001191110000")
    assert "prompt" not in found
    assert found["aigc"] == aigc_label("001191110000", found["id"])


async def test_what_no_model_drew_is_labelled_only_when_a_producer_is_named(easel: Easel, tmp_path: Path) -> None:
    easel.catalogue = replace(CATALOGUE, digital_source_type="algorithmicMedia")
    assert "aigc" not in await told(easel, tmp_path / "one")
    assert "aigc" in await told(easel, tmp_path / "two", MCP_AIGC_PRODUCER="我们")


async def test_the_label_of_a_service_is_the_only_one(easel: Easel, tmp_path: Path) -> None:
    easel.work = labelled_by_the_service
    found = await told(easel, tmp_path)
    assert "aigc" not in found
    assert found["prompt"] == "a cat"


@pytest.mark.parametrize("name", ["MCP_C2PA_CERTIFICATE", "MCP_C2PA_KEY"])
def test_a_certificate_and_its_key_belong_together(name: str) -> None:
    with pytest.raises(ConfigError, match="MCP_C2PA_CERTIFICATE and MCP_C2PA_KEY belong together"):
        parse(Settings, {name: "some.pem"})
