"""Who did what, for those who have to answer for it: one line of JSON for each event, apart from the log of how the server is."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import ConfigError

log = logging.getLogger("mcp_image_server.audit")


def audit(event: str, **facts: Any) -> None:
    """Notes the event. Facts are ids, names and numbers: never a token, a prompt or a picture."""
    log.info("%s %s", event, json.dumps({name: value for name, value in facts.items() if value is not None}, ensure_ascii=False, default=str))


def start_audit(path: Path | None, *, in_log: bool) -> None:
    """Where events go from now on: to that file, and to the log, where they are wanted there and its level lets them through.

    Raises:
        ConfigError: the file cannot be written.
    """
    log.propagate = in_log and log.isEnabledFor(logging.INFO)
    if path is not None:
        write_audit_to(path)


def write_audit_to(path: Path) -> logging.Handler:
    """From now on every event is also a line of JSON in that file, which only grows.

    Raises:
        ConfigError: it cannot be written.
    """
    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"MCP_AUDIT_FILE is {path}, which cannot be written: {error.strerror or error}.") from error
    handler.setFormatter(_Line())
    handler.setLevel(logging.INFO)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event, facts = record.args if isinstance(record.args, tuple) else ("", "{}")
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"at": at, "event": event, **json.loads(str(facts))}, ensure_ascii=False)
