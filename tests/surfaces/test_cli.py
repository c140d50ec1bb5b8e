"""The command line, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mcp_image_server import __version__
from mcp_image_server.providers import ORDER
from mcp_image_server.surfaces.cli import app
from mcp_image_server.surfaces.terminal import half_blocks, iterm, kitty, picture_protocol
from tests.fakes.modelscope import FakeModelScope
from tests.fakes.openai import FakeOpenAI, Trouble

FOX = ("generate", "a red fox in the snow", "--size", "96x64", "--seed", "3")


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def run_json(*words: str, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def test_the_path_is_all_that_goes_to_standard_output(tmp_path: Path) -> None:
    result = run(*FOX)
    path = Path(result.stdout.strip())
    assert path.parent == tmp_path / "generated_images"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "sketch/sketch-1" in result.stderr
    assert run(*FOX, "--quiet").stderr == ""


def test_json_has_the_same_shape_as_a_tools_answer() -> None:
    answer = run_json(*FOX)
    assert (answer["version"], answer["ok"], answer["error"]) == ("1.0", True, None)
    (image,) = answer["images"]
    assert (image["width"], image["height"], image["seed"], image["mime_type"]) == (96, 64, 3, "image/png")


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (Path(run(*FOX, "--quiet").stdout.strip()) for _ in range(2))
    from PIL import Image

    with Image.open(first) as one, Image.open(second) as other:
        assert one.tobytes() == other.tobytes()


def test_a_copy_goes_where_it_is_asked_for(tmp_path: Path) -> None:
    run(*FOX, "-n", "2", "-o", "fox.png")
    assert sorted(path.name for path in tmp_path.glob("fox*.png")) == ["fox-1.png", "fox-2.png"]
    assert "no copy could be written" in run(*FOX, "-o", "no/such/folder/fox.png", code=2).stderr


def test_a_dry_run_says_who_would_draw_and_draws_nothing(tmp_path: Path) -> None:
    plan = json.loads(run("generate", "a fox", "--size", "16:9", "--dry-run").stdout)
    assert (plan["provider"], plan["model"], plan["n"]) == ("sketch", "sketch-1", 1)
    assert not (tmp_path / "generated_images").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("generate", " "), 2, "Describe the picture"),
        (("generate", "x", "--size", "99999x1"), 2, "Try 1024x1024"),
        (("generate", "x", "--style", "nonsense"), 2, "Available styles"),
        (("generate", "x", "--provider", "nobody"), 2, "Available providers: ['sketch']"),
        (("generate", "x", "--provider", "openai"), 2, "the operator sets OPENAI_API_KEY"),
        (("edit", "x", "y.png", "--action", "generate"), 2, "there are: variation, upscale, remove_background"),
        (("models", "nobody"), 2, "Available providers"),
        (("history", "show", "nope"), 2, "Image id 'nope' not found"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_could(words: tuple[str, ...], code: int, message: str) -> None:
    result = run(*words, code=code)
    assert message in " ".join(result.stderr.split())
    assert run_json(*words, code=code)["error"]["message"]


def test_wrong_settings_are_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_PORT", "zero")
    assert "MCP_PORT" in run("models", code=3).stderr


def test_a_service_that_refuses_ends_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOpenAI() as fake:
        monkeypatch.setenv("OPENAI_API_KEY", fake.key or "")
        monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
        fake.trouble.append(Trouble.BLOCKED)
        assert "refused" in run("generate", "x", code=4).stderr
        drawn = run_json("generate", "x")
        assert drawn["images"][0]["provider"] == "openai"


def test_history_lists_finds_shows_and_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # as where a program reads the table
    path = Path(run(*FOX, "--quiet").stdout.strip())
    balloons = "three [/b] balloons, [red]red[/red], " + "and a very long string " * 9
    run("generate", balloons, "--size", "64x64", "-q")
    assert [image["prompt"] for image in run_json("history", "list")] == [balloons, "a red fox in the snow"]
    (fox,) = run_json("history", "list", "FOX")
    assert fox["local_path"] == str(path)
    assert run_json("history", "show", fox["id"])["prompt"] == "a red fox in the snow"
    table = run("history", "list").stdout
    assert "a red fox" in table
    assert any(balloons[:100] in line for line in table.splitlines())  # whole rows for programs, and brackets as they are
    assert "agree" in run("history", "verify").stdout
    path.unlink()
    stray = tmp_path / "generated_images" / "img_sketch_00112233aabbccdd-1.png"
    stray.write_bytes(b"x")
    found = run_json("history", "verify", code=1)
    assert (found["missing"], found["unrecorded"]) == ([fox["id"]], [stray.name])


def test_jobs_are_listed_with_what_became_of_them_and_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing that is known of" in run("jobs").stdout
    with FakeOpenAI() as fake:
        monkeypatch.setenv("OPENAI_API_KEY", fake.key or "")
        monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
        run("generate", "a cat", "-q")
        fake.trouble.append(Trouble.BLOCKED)
        run("generate", "a dog", code=4)
        found = run_json("jobs")
        assert [(job["prompt"], job["state"]) for job in found["jobs"]] == [("a dog", "failed"), ("a cat", "succeeded")]
        assert found["jobs"][0]["error"]["code"] == "refused"
        assert found["jobs"][1]["request_id"] == "req_fake"
        costs = [job["cost"]["amount"] for job in found["jobs"] if "cost" in job]
        assert list(found["spent_in_30_days"].values()) == ([sum(costs)] if costs else [])
        run("generate", "[/b] cat", "-q")
        assert "[/b] cat" in run("jobs").stdout
        assert "failed (refused)" in " ".join(run("jobs").stdout.split())


def test_a_picture_that_was_not_waited_for_is_had_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeModelScope(looks=10_000) as fake:
        monkeypatch.setenv("MODELSCOPE_SDK_TOKEN", fake.token or "")
        monkeypatch.setenv("MODELSCOPE_BASE_URL", fake.url)
        monkeypatch.setenv("MODELSCOPE_POLL_INTERVAL_SECONDS", "0.05")
        with monkeypatch.context() as impatient:
            impatient.setenv("MODELSCOPE_MAX_POLL_ATTEMPTS", "4")
            answer = run_json("generate", "a cat", "--provider", "modelscope", "--size", "64x64", code=4)
            assert (answer["ok"], answer["error"]["code"]) == (False, "timeout")
            assert "get_job" in answer["error"]["message"]
        fake.tasks["7000001"].states.clear()
        found = run_json("jobs", answer["job"]["id"])
        assert (found["ok"], found["job"]["state"], len(found["images"])) == (True, "succeeded", 1)
        assert Path(run("jobs", answer["job"]["id"]).stdout.strip()).is_file()
        assert [seen.method for seen in fake.seen].count("POST") == 1
    assert "There is no job" in run("jobs", "nope", code=2).stderr


def test_models_are_listed_with_what_each_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = run_json("models")
    paid = [name for name in ORDER if name != "sketch"]
    assert {(row["provider"], row["configured"]) for row in rows} == {*((name, False) for name in paid), ("sketch", True)}
    assert next(row for row in rows if row["provider"] == "openai")["variables"] == ["OPENAI_API_KEY"]
    table = run("models").stdout
    assert "* sketch-1  " in table
    assert "set OPENAI_API_KEY" in table
    assert max(map(len, table.splitlines())) <= 80
    assert {row["model"] for row in rows} <= set(table.split())  # none is broken in two


def test_one_providers_models_are_shown_with_every_fact() -> None:
    words = " ".join(run("models", "openai").stdout.split())
    assert words.startswith("openai OpenAI set OPENAI_API_KEY to use it")
    assert (
        "gpt-image-1.5 GPT Image 1.5 does edit, generate, inpaint sizes 1024x1024, 1536x1024, 1024x1536 at once 10 takes mask, 16 input pictures"
        in words
    )
    assert "ends 2026-12-01" in words


def test_the_table_of_models_is_held_against_the_services_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with FakeOpenAI() as fake:
        monkeypatch.setenv("OPENAI_API_KEY", fake.key or "")
        monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
        (tmp_path / "models.toml").write_text('[openai.models."gpt-image-0"]\nends = 2020-01-01\n', encoding="utf-8")
        monkeypatch.setenv("MCP_MODELS_FILE", "models.toml")
        openai, sketch = run_json("models", "--check", code=1)
        assert (openai["provider"], openai["ok"], "gpt-image-0" in openai["gone"]) == ("openai", False, True)
        assert {"model": "gpt-image-0", "ends": "2020-01-01"} in openai["ending"]
        assert sketch == {"provider": "sketch", "ok": True, "gone": [], "new": [], "ending": [], "message": "The service does not list its models."}
        table = run("models", "openai", "--check", code=1).stdout
        assert "gone" in table
        assert "sketch" not in table
        assert {(seen.method, seen.path) for seen in fake.seen} == {("GET", "/v1/models")}
    assert "the operator sets HF_TOKEN" in " ".join(run("models", "huggingface", "--check", code=2).stderr.split())


def test_the_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    assert {check["name"]: check["ok"] for check in run_json("doctor")} == dict.fromkeys(("pictures", "history", *ORDER), True)
    for path in sorted((tmp_path / "generated_images").rglob("*"), reverse=True):
        path.rmdir()
    (tmp_path / "generated_images").rmdir()
    (tmp_path / "generated_images").write_text("in the way")
    result = run("doctor", code=1)
    assert "FAIL  pictures" in result.stdout
    assert "MCP_IMAGE_SAVE_DIR" in result.stdout


def test_the_version_is_printed() -> None:
    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty", "TERM": "xterm-256color"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "blocks"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, None),
        ({"TERM": "dumb"}, None),
        ({}, None),
    ],
)
def test_a_terminal_is_shown_pictures_the_way_it_can(environment: dict[str, str], protocol: str | None) -> None:
    assert picture_protocol(environment) == protocol


def test_pictures_for_terminals_are_written_as_their_protocols_say() -> None:
    assert half_blocks([[(1, 2, 3)], [(4, 5, 6)]]) == "\x1b[38;2;1;2;3;48;2;4;5;6m▀\x1b[0m\n"
    assert iterm(b"abc") == "\x1b]1337;File=inline=1;height=20;size=3:YWJj\a\n"
    long = kitty(b"x" * 4000)
    assert long.startswith("\x1b_Ga=T,f=100,r=20,m=1;")
    assert long.count("\x1b_G") == 2
    assert "\x1b_Gm=0;" in long
