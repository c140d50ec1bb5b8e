"""The operator's file of models: what it changes, and what is wrong with it in words that lead to the place."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import pytest

from mcp_image_server import providers
from mcp_image_server.configuration import Configuration
from mcp_image_server.errors import ConfigError
from mcp_image_server.model_file import FACTS, ModelFile
from mcp_image_server.models import Caller, Catalogue, ImageRequest, Model, Operation, Price, Size, SizeList, SizeRange, find_model
from mcp_image_server.studio import open_studio

pytestmark = pytest.mark.anyio

FILE = """
[openai]
default = "gpt-image-3"

[openai.models."gpt-image-2"]
aliases = ["brush"]
ends = 2031-03-01
max_count = 4
price = { amount = 0.05, currency = "USD", as_of = 2026-12-01, factors = { high = 4 }, above = { 3000000 = 2 } }

[openai.models."gpt-image-3"]
like = "gpt-image-2"
title = "GPT Image 3"
sizes = ["1024x1024", "2048x1024"]

[siliconflow.models."Qwen/Qwen-Image-9"]
operations = ["generate", "edit"]
sizes = { max_edge = 4096, max_pixels = 16777216, multiple = 16 }
default_size = "1328x1328"
seed = true
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def corrected(path: Path, provider: str) -> Catalogue:
    return ModelFile.read(path, providers.names()).applied(providers.catalogues()[provider])


def model(catalogue: Catalogue, name: str) -> Model:
    found = find_model(catalogue.models, name)
    assert found is not None
    return found


def test_facts_are_corrected_and_the_rest_stays(written: Path) -> None:
    before = providers.catalogues()["openai"]
    price = Price(amount=0.05, currency="USD", as_of=date(2026, 12, 1), factors={"high": 4.0}, above={3_000_000: 2.0})
    expected = replace(model(before, "gpt-image-2"), aliases=("brush",), ends=date(2031, 3, 1), max_count=4, price=price)
    after = corrected(written, "openai")
    assert model(after, "brush") == expected
    assert [each for each in after.models if each.id not in ("gpt-image-2", "gpt-image-3")] == [
        each for each in before.models if each.id != "gpt-image-2"
    ]


def test_a_new_model_begins_like_another_but_for_price_and_end(written: Path) -> None:
    after = corrected(written, "openai")
    sizes = SizeList(sizes=(Size(width=1024, height=1024), Size(width=2048, height=1024)))
    like = replace(model(after, "gpt-image-2"), id="gpt-image-3", title="GPT Image 3", aliases=(), price=None, ends=None, sizes=sizes)
    assert after.models[-1] == like
    assert after.default_model == "gpt-image-3"


def test_a_new_model_begins_with_what_is_assumed_of_unknown_ones(written: Path) -> None:
    before = providers.catalogues()["siliconflow"]
    assert before.unknown is not None
    assert corrected(written, "siliconflow").models[-1] == replace(
        before.unknown,
        id="Qwen/Qwen-Image-9",
        title="Qwen/Qwen-Image-9",
        operations=frozenset({Operation.GENERATE, Operation.EDIT}),
        sizes=SizeRange(max_edge=4096, max_pixels=16_777_216, multiple=16),
        default_size=Size(width=1328, height=1328),
        seed=True,
    )


def test_who_is_not_in_the_file_is_left_alone(written: Path) -> None:
    assert corrected(written, "sketch") is providers.catalogues()["sketch"]


def test_every_fact_can_be_in_the_file() -> None:
    assert set(FACTS) == {each.name for each in fields(Model)} - {"provider", "id"}


def test_the_example_of_the_documents_is_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "providers.md").read_text(encoding="utf-8")
    (tmp_path / "models.toml").write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    found = Configuration.read({"MCP_MODELS_FILE": str(tmp_path / "models.toml")}).model_file
    assert found is not None
    assert found.providers.keys() == {"openai", "siliconflow"}


def test_a_default_that_the_table_does_not_know_is_passed_on_where_such_ids_are(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text('[openai]\ndefault = "gpt-image-9"', encoding="utf-8")
    after = corrected(path, "openai")
    assert (after.default_model, model(after, "gpt-image-9").provider) == ("gpt-image-9", "openai")


X = "[openai.models.x]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[[", " is not TOML: "),
        ("[opnai]", "[opnai]: there is no such provider; there are: hunyuan, openai, "),
        ("openai = 3", "[openai]: write a table (it is 3)."),
        ("[openai]\ndefaults = 'x'", "[openai], defaults: there is no such field; there are default, models."),
        ("[openai.models]\nx = 3", '[openai.models."x"]: write a table (it is 3).'),
        (f"{X}prize = 1", '[openai.models."x"], prize: there is no such field; there are like, title, aliases, '),
        (f"{X}max_count = 0", '[openai.models."x"], max_count: Input should be greater than or equal to 1 (it is 0).'),
        (f"{X}operations = ['draw']", "[openai.models.\"x\"], operations.0: Input should be 'generate', 'edit', "),
        (f"{X}ends = 'tomorrow'", '[openai.models."x"], ends: Input should be a valid date'),
        (f"{X}sizes = ['16:9']", '[openai.models."x"], sizes: write a size such as "1024x768".'),
        (f"{X}sizes = {{ max_edge = 9 }}", '[openai.models."x"], sizes.max_pixels: Field required.'),
        (f"{X}sizes = {{ edge = 9 }}", '[openai.models."x"], sizes: there is no edge; there are min_edge, max_edge, '),
        (f"{X}price = 3", '[openai.models."x"], price: write a table such as { amount = 0.05, '),
        (f"{X}price = {{ amount = 'a' , currency = 'USD', as_of = 2026-12-01 }}", "price.amount: Input should be a valid number"),
        (f"{X}price = {{ amount = -1 , currency = 'USD', as_of = 2026-12-01 }}", "price: amount must be 0 or more."),
        (f"{X}price = {{ amount = 1 , currency = 'Dollars', as_of = 2026-12-01 }}", "price: currency must be a code of three capitals such as USD."),
        (f"{X}like = 'y'", "[openai.models.\"x\"], like: there is no model 'y'; there are: "),
        (f"{X}aliases = ['gpt-image-2']", "[openai.models.\"x\"]: 'gpt-image-2' already is a name of gpt-image-2."),
        ("[hunyuan]\ndefault = 'y'", "[hunyuan], default: there is no model 'y'; there are: hunyuan-image, "),
    ],
)
def test_a_mistake_is_named_with_file_table_and_field(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Configuration.read({"MCP_MODELS_FILE": str(path)})
    assert caught.value.message.startswith(f"MCP_MODELS_FILE: {path}")
    assert words in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"MCP_MODELS_FILE: cannot read .*models\.toml"):
        Configuration.read({"MCP_MODELS_FILE": str(tmp_path / "models.toml")})


async def test_every_reader_sees_it_and_a_reload_reads_it_again(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"MCP_MODELS_FILE": str(written), "OPENAI_API_KEY": "sk-fake-0123456789", "MCP_DATA_DIR": str(tmp_path / "data")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with open_studio(environment) as studio:
        assert studio.catalogue("openai").default_model == "gpt-image-3"
        assert "Qwen/Qwen-Image-9" in [each.id for catalogue in studio.all_catalogues() for each in catalogue.models]
        plan = (await studio.estimate(Caller(), ImageRequest(prompt="a cat", model="brush", quality="high"))).plan
        assert (plan.model.id, plan.estimate and plan.estimate.micros) == ("gpt-image-2", 200_000)
        written.write_text('[openai]\ndefault = "gpt-image-2"', encoding="utf-8")
        reloaded = await studio.upkeep.reload(Caller())
        assert ("models_file" in reloaded.changed, reloaded.models["openai"]) == (True, "gpt-image-2")
        assert studio.catalogue("openai").default_model == "gpt-image-2"
        written.write_text("[openai]\ndefault = 3", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"\[openai\], default: Input should be a valid string"):
            await studio.upkeep.reload(Caller())
        assert studio.catalogue("openai").default_model == "gpt-image-2"
