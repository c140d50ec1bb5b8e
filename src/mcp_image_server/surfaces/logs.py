"""The log: lines of text for people or of JSON for machines, on standard error, each with what it is about and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from .. import telemetry
from ..redaction import redacted
from ..settings import Settings

CHATTY = ("httpx2", "httpcore2", "mcp", "alembic", "aiosqlite")
"""Loggers whose small talk is heard with MCP_DEBUG only."""


def start_log(settings: Settings) -> None:
    """From now on everything that is logged in this process goes to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines() if settings.log_format == "json" else Sentences())
    # A handler of its own for each start: whoever was there before keeps theirs.
    logging.basicConfig(level=logging.DEBUG if settings.debug else settings.log_level, handlers=[handler])
    if not settings.debug:
        for chatty in CHATTY:
            logging.getLogger(chatty).setLevel(logging.WARNING)


class Sentences(logging.Formatter):
    """Text: time, level, logger and message, and behind it what it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class has the name
        """One line; a traceback follows it."""
        now = telemetry.scene()
        known = {"request": now.request_id, "job": now.job_id, "principal": now.principal}
        words = " ".join(f"{name}={value}" for name, value in known.items() if value)
        return _in_one_line(super().formatMessage(record) + (f" [{words}]" if words else ""))

    def format(self, record: logging.LogRecord) -> str:
        """The whole record, without secrets."""
        return redacted(super().format(record))


def _in_one_line(text: str) -> str:
    """The text with what would end the line, or move a terminal's cursor, as Python writes it: parts of it may come from anybody."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)


class Lines(logging.Formatter):
    """JSON, one object to a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole record, without secrets. What is not known is left out."""
        now, ids = telemetry.scene(), telemetry.trace_ids()
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
            "request_id": now.request_id,
            "job_id": now.job_id,
            "principal": now.principal,
            "trace_id": ids[0] if ids else "",
            "span_id": ids[1] if ids else "",
            "error": redacted(self.formatException(record.exc_info)) if record.exc_info else "",
        }
        return json.dumps({name: value for name, value in fields.items() if value != ""}, ensure_ascii=False)
