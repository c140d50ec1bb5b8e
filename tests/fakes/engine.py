"""An engine that paints one colour, in a worker process of its own. It does what the prompt says."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcp_image_server.models import Size
from mcp_image_server.providers.local.child import EngineError, Voice, serve

from ..easel import png

ROOT = Path(__file__).parent.parent.parent


def command(idle: float = 60) -> tuple[str, ...]:
    """Starts the worker process with this engine."""
    return (sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.fakes.engine import main; main({idle})")


class Crayon:
    """The engine."""

    def facts(self, task: Mapping[str, Any]) -> str:
        return f"Draws with crayons on {task['device']}."

    def draw(self, task: Mapping[str, Any], pictures: Sequence[bytes], voice: Voice) -> None:
        voice.report(0.1, f"I am {os.getpid()}.")
        match task["prompt"].split():
            case ["die"]:
                os._exit(9)
            case ["go", "on", "and", "on"]:
                while True:
                    voice.report(0.5, "Still at it.", png(Size(width=8, height=8), (1, 2, 3)))
                    time.sleep(0.01)  # a step
            case ["fail:", kind]:
                raise EngineError(kind, "so it is")
            case ["stumble"]:
                raise RuntimeError("a bug")
            case ["chatter"]:
                print("a library says hello")
            case ["tell", name]:
                voice.report(0.2, os.environ.get(name, "nothing"))
        for index in range(task["count"]):
            seed = task["seed"] + index
            voice.picture(png(Size(width=task["width"], height=task["height"]), (seed % 251, len(pictures), 0)), seed)


def main(idle: float) -> None:
    """The process."""
    serve(Crayon, idle=idle)
