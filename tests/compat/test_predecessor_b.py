"""The contract of `modelscope-image-mcp` 1.1.0, row by row: its command, variables, arguments and Chinese sentences."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, types
from PIL import Image

from tests.fakes.modelscope import FakeModelScope, Trouble
from tests.transports.server_process import environment

pytestmark = pytest.mark.anyio

COMMANDS = {
    "modelscope-image-mcp": [str(Path(sysconfig.get_path("scripts")) / "modelscope-image-mcp")],
    "python -m modelscope_image_mcp.server": [sys.executable, "-m", "modelscope_image_mcp.server"],
}


@pytest.fixture
def fake() -> Iterator[FakeModelScope]:
    with FakeModelScope() as server:
        yield server


async def call(
    fake: FakeModelScope,
    folder: Path,
    *,
    command: str = "modelscope-image-mcp",
    token: str | None = "",
    mode: Any = "legacy",
    settings: dict[str, str] | None = None,
    **arguments: object,
) -> types.CallToolResult:
    """One call of generate_image by the official client, started as in the documentation of the predecessor."""
    words = COMMANDS[command]
    variables = {"MODELSCOPE_BASE_URL": fake.url, **(settings or {})}
    if token is not None:
        variables["MODELSCOPE_SDK_TOKEN"] = token or fake.token or ""
    server = StdioServerParameters(command=words[0], args=words[1:], env=environment(folder, **variables), cwd=folder)
    with anyio.fail_after(60):
        async with Client(server, mode=mode) as client:
            return await client.call_tool("generate_image", arguments)


def text(result: types.CallToolResult) -> str:
    first = result.content[0]
    assert isinstance(first, types.TextContent)
    return first.text


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_picture_is_written_where_it_always_was(fake: FakeModelScope, tmp_path: Path, command: str) -> None:
    result = await call(fake, tmp_path, command=command, prompt="一只金色的猫")
    path = tmp_path / "outputs" / "result_image.jpg"
    assert not result.is_error
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (1024, 1024))
    (submitted,) = [seen.json() for seen in fake.seen if seen.method == "POST"]
    assert (submitted["model"], submitted["prompt"], submitted["size"]) == ("Qwen/Qwen-Image", "一只金色的猫", "1024x1024")
    lines = text(result).splitlines()
    assert lines[:7] == [
        "图片生成成功！",
        "提示词: 一只金色的猫",
        "模型: Qwen/Qwen-Image",
        "分辨率: 1024x1024",
        f"保存路径: {path}",
        f"输出目录: {path.parent}",
        "文件名: result_image.jpg",
    ]
    assert lines[7].startswith("图片URL: file://")
    assert lines[8].startswith("request_id: ")
    assert lines[8] != "request_id: None"


async def test_arguments_size_model_output_filename_and_output_dir(fake: FakeModelScope, tmp_path: Path) -> None:
    result = await call(
        fake, tmp_path, prompt="a cat", model="Tongyi-MAI/Z-Image-Turbo", size="768x512", output_filename="cat.png", output_dir="./art/cats"
    )
    assert not result.is_error
    with Image.open(tmp_path / "art" / "cats" / "cat.png") as image:
        assert (image.format, image.size) == ("PNG", (768, 512))
    assert fake.seen[0].json()["model"] == "Tongyi-MAI/Z-Image-Turbo"


async def test_arguments_for_polling_are_taken(fake: FakeModelScope, tmp_path: Path) -> None:
    fake.looks = 2
    result = await call(
        fake, tmp_path, prompt="a cat", poll_interval_seconds=0.05, max_poll_attempts=50, poll_backoff=True, max_poll_interval_seconds=0.1
    )
    assert not result.is_error
    assert "注意" not in text(result)
    assert not [name for name in fake.seen[0].json() if "poll" in name]


async def test_variables_for_polling_bound_the_wait(fake: FakeModelScope, tmp_path: Path) -> None:
    fake.trouble.append(Trouble.NEVER)
    settings = {"MODELSCOPE_POLL_INTERVAL_SECONDS": "0.05", "MODELSCOPE_MAX_POLL_ATTEMPTS": "4"}
    result = await call(fake, tmp_path, prompt="a cat", settings=settings)
    assert result.is_error  # there it looked like success
    assert text(result).startswith(("图片生成超时，任务可能仍在处理中", "图片生成失败", "生成图片时发生错误"))
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").iterdir())


async def test_a_task_that_is_ready_is_answered_at_the_first_look(fake: FakeModelScope, tmp_path: Path) -> None:
    await call(fake, tmp_path, prompt="a cat")
    assert [seen.method for seen in fake.seen] == ["POST", "GET", "GET"]  # submitted, looked at once, fetched


async def test_no_token_is_said_in_their_words(fake: FakeModelScope, tmp_path: Path) -> None:
    result = await call(fake, tmp_path, token=None, prompt="a cat")
    assert result.is_error
    assert text(result) == "生成图片时发生错误: 需要设置 MODELSCOPE_SDK_TOKEN 环境变量"
    assert fake.seen == []


async def test_a_failed_task_has_its_reason(fake: FakeModelScope, tmp_path: Path) -> None:
    fake.trouble.append(Trouble.FAILED)
    result = await call(fake, tmp_path, prompt="a cat")
    assert result.is_error
    assert text(result).startswith(("图片生成失败: ", "生成图片时发生错误: ", "请求失败"))
    assert not (tmp_path / "outputs" / "result_image.jpg").exists()


async def test_a_refused_request_has_status_and_request_id(fake: FakeModelScope, tmp_path: Path) -> None:
    result = await call(fake, tmp_path, token="ms-wrong", prompt="a cat")
    assert result.is_error
    assert text(result).startswith("请求失败\nstatus_code: 401")
    assert "ms-wrong" not in text(result)


async def test_a_moderated_prompt_is_tried_once(fake: FakeModelScope, tmp_path: Path) -> None:
    fake.trouble.append(Trouble.BLOCKED)
    result = await call(fake, tmp_path, prompt="a cat")
    assert result.is_error
    assert len(fake.seen) == 1


@pytest.mark.parametrize("name", ["../../x.png", "/tmp/x.png", "a\0.png", "con.jpg"])
async def test_a_name_cannot_leave_the_folder(fake: FakeModelScope, tmp_path: Path, name: str) -> None:
    result = await call(fake, tmp_path, prompt="a cat", output_filename=name)
    assert result.is_error
    assert fake.seen == []


@pytest.mark.parametrize("version", ["legacy", "2026-07-28"])
async def test_both_eras_of_the_protocol(fake: FakeModelScope, tmp_path: Path, version: str) -> None:
    assert not (await call(fake, tmp_path, mode=version, prompt="a cat")).is_error


async def test_the_server_is_called_as_it_was(fake: FakeModelScope, tmp_path: Path) -> None:
    words = COMMANDS["modelscope-image-mcp"]
    server = StdioServerParameters(command=words[0], args=words[1:], env=environment(tmp_path, MODELSCOPE_LOG_LEVEL="ERROR"), cwd=tmp_path)
    async with Client(server, mode="legacy") as client:
        assert client.server_info is not None
        assert client.server_info.name == "modelscope-image-mcp"
        (tool, *_) = (await client.list_tools()).tools
        assert tool.name == "generate_image"
        assert (tool.description or "").startswith("使用ModelScope生成图片")
        wrong = await client.call_tool("generate_image", {"prompt": "a cat", "sise": "1x1"})
        assert wrong.is_error
        nowhere = await client.call_tool("x", {})
        assert (nowhere.is_error, text(nowhere)) == (True, "未知工具: x")
