"""The voice of `modelscope-image-mcp`: its Chinese sentences, its provider, and the copy that it always wrote."""

from __future__ import annotations

from pathlib import Path

from mcp import types

from ...errors import ImageServerError, NotFoundError
from ...models import Failure, Job, JobState
from ...studio import Studio
from .answers import Voice, pictures
from .callers import Audience

NO_TOKEN = "生成图片时发生错误: 需要设置 MODELSCOPE_SDK_TOKEN 环境变量"  # noqa: S105 - a sentence


class ModelScopeVoice(Voice):
    """Speaks as the server whose place it takes. Failures are error results here; there they looked like success."""

    server_name = "modelscope-image-mcp"
    description = "使用ModelScope生成图片。Draws with ModelScope and writes a copy to output_dir/output_filename (./outputs/result_image.jpg)."
    log_level_variable = "MODELSCOPE_LOG_LEVEL"
    provider = "modelscope"
    resolution = "1024x1024"
    file_name = "result_image.jpg"
    structured = False

    async def job(self, studio: Studio, job: Job, audience: Audience, *, preview: bytes | None = None) -> types.CallToolResult:
        """The sentences about a job, then its pictures."""
        failed = job.state is JobState.FAILED
        text = _failure(job.failure) if job.failure is not None else _running(job) if not job.state.ended else _success(studio, job)
        return types.CallToolResult(content=[_text(text), *await pictures(studio, job, audience, preview=preview)], is_error=failed)

    def error(self, error: ImageServerError) -> types.CallToolResult:
        """A refused call."""
        if error.code == "unknown_tool":
            return types.CallToolResult(content=[_text(f"未知工具: {error.details['tool_name']}")], is_error=True)
        missing = isinstance(error, NotFoundError) and error.details.get("provider") == self.provider
        return types.CallToolResult(content=[_text(NO_TOKEN if missing else f"生成图片时发生错误: {error.message}")], is_error=True)


def _success(studio: Studio, job: Job) -> str:
    image = job.images[0]
    stored = studio.images.path(image)
    path = Path(job.request.save_as) if job.request.save_as else stored
    lines = [
        "图片生成成功！",
        f"提示词: {job.request.prompt}",
        f"模型: {job.model}",
        f"分辨率: {image.size}",
        f"保存路径: {path}",
        f"输出目录: {path.parent if path else None}",
        f"文件名: {path.name if path else None}",
        f"图片URL: {studio.images.link(image) or (stored.as_uri() if stored else f'{image.store_url}/{image.key}')}",
        f"request_id: {job.request_id}",
    ]
    lines += [f"图片保存失败: {adjustment.message}" for adjustment in job.adjustments if adjustment.field == "output_filename"]
    lines += [f"注意 ({adjustment.field}): {adjustment.message}" for adjustment in job.adjustments if adjustment.field != "output_filename"]
    return "\n".join(lines)


def _running(job: Job) -> str:
    return f"图片仍在生成中（{job.progress:.0%}）。请用 get_job 查询，不要重新提交。\njob_id: {job.id}\nstate: {job.state}"


def _failure(failure: Failure) -> str:
    facts = [
        f"{name}: {failure.details[name]}" for name in ("status_code", "status", "request_id", "task_id") if failure.details.get(name) is not None
    ]
    facts = [fact.replace("status:", "status_code:", 1) for fact in facts]
    match failure.code:
        case "timeout":
            words = "图片生成超时，任务可能仍在处理中"
        case "refused" | "bad_reply" | "interrupted":
            words = f"图片生成失败: {failure.message}"
        case "cancelled":
            words = f"已取消: {failure.message}"
        case _ if failure.details.get("status") is not None:
            words, facts = "请求失败", [*facts, f"body: {failure.message}"]
        case _:
            words = f"生成图片时发生错误: {failure.message}"
    return "\n".join([words, *facts])


def _text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)
