"""The worker process: takes tasks from its input one after the other, hands them to an engine, and tells how they go.

It is started by `worker` and ends with it: when its input is closed, whatever it is doing. It knows nothing of services, jobs or stores.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Literal, Protocol

from .frames import Frame, Unpacker, pack

Kind = Literal["config", "request", "memory", "refused", "broken"]
"""Who can help where an engine fails: the operator, the caller, a smaller picture, other words, or nobody."""


class EngineError(Exception):
    """The engine cannot do it, for a reason that a person can act on."""

    def __init__(self, kind: Kind, words: str) -> None:
        super().__init__(words)
        self.kind: Kind = kind


class StoppedError(Exception):
    """Nobody wants the pictures any more."""


class Voice(Protocol):
    """How an engine tells of its work."""

    def report(self, fraction: float, words: str, preview: bytes = b"") -> None:
        """Progress from 0 to 1 in a sentence, perhaps with a picture of the work so far.

        Raises:
            StoppedError: the work is to end here.
        """
        ...

    def picture(self, data: bytes, seed: int) -> None:
        """One picture is done."""
        ...


class Engine(Protocol):
    """What draws."""

    def facts(self, task: Mapping[str, Any]) -> str:
        """A sentence on the device, its memory and the libraries."""
        ...

    def draw(self, task: Mapping[str, Any], pictures: Sequence[bytes], voice: Voice) -> None:
        """Draws what the task says; `pictures` go in.

        Raises:
            EngineError: it cannot.
            StoppedError: passed on from the voice.
        """
        ...


def serve(engine: Callable[[], Engine], *, idle: float | None = None) -> None:
    """Works until the input is closed, or nothing came for so many seconds.

    Args:
        engine: makes the engine, which may take seconds; called when there is a task.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the frames
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches us too; the server decides
    tasks: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    unwanted: set[int] = set()
    threading.Thread(target=_listen, args=(tasks, unwanted), daemon=True).start()
    made: Engine | None = None
    while True:
        try:
            frame = tasks.get(timeout=idle)
        except queue.Empty:
            os._exit(0)  # without the farewell of native libraries, which may fail
        voice = _Voice(replies, frame.words["id"], unwanted)
        try:
            made = made or engine()
            if frame.words["do"] == "facts":
                voice.say("done", words=made.facts(frame.words))
            else:
                voice.report(0.0, "The engine takes it up.")
                made.draw(frame.words, frame.parts, voice)
                voice.say("done")
        except StoppedError:
            voice.say("stopped")
        except EngineError as error:
            voice.say("failed", kind=error.kind, words=str(error))
        except MemoryError:
            voice.say("failed", kind="memory", words="the machine is out of memory")
        except Exception as error:  # an engine's bug ends the task, not the worker
            traceback.print_exc()
            voice.say("failed", kind="broken", words=f"{type(error).__name__}: {error}")
        unwanted.discard(frame.words["id"])


def _listen(tasks: queue.SimpleQueue[Frame], unwanted: set[int]) -> None:
    code = 3
    try:
        unpacker = Unpacker()
        while data := os.read(0, 1 << 16):
            for frame in unpacker.feed(data):
                if frame.words["do"] == "stop":
                    unwanted.add(frame.words["id"])
                else:
                    tasks.put(frame)
        code = 0
    finally:
        os._exit(code)  # the server is gone, and a step may take a minute


class _Voice:
    def __init__(self, replies: BinaryIO, task: int, unwanted: set[int]) -> None:
        self._replies = replies
        self._task = task
        self._unwanted = unwanted

    def say(self, what: str, *parts: bytes, **words: Any) -> None:
        self._replies.write(pack(Frame(words={"id": self._task, "say": what, **words}, parts=parts)))
        self._replies.flush()

    def report(self, fraction: float, words: str, preview: bytes = b"") -> None:
        if self._task in self._unwanted:
            raise StoppedError
        self.say("progress", *([preview] if preview else []), fraction=fraction, words=words)

    def picture(self, data: bytes, seed: int) -> None:
        self.say("picture", data, seed=seed)
