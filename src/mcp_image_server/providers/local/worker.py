"""The server's side of the worker process: started at first use, started anew when it has died, ended with the server."""

from __future__ import annotations

import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import Process

from ...errors import UnavailableError
from .frames import Frame, NoFrameError, Unpacker, pack

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, NoFrameError)

_GOODBYE = 2.0
"""Seconds that the process has to end by itself once its input is closed."""


class Worker:
    """One process that does one task at a time. Nothing is started before there is a task.

    Args:
        command: starts it.
        environment: of the process; it needs no keys, so it gets none.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._turn = anyio.Lock()
        self._conversation: _Conversation | None = None
        self._tasks = 0

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    async def ask(self, words: Mapping[str, Any], parts: Sequence[bytes] = (), *, heard: Callable[[Frame], Awaitable[None]] | None = None) -> Frame:
        """The frame that ends the task: `done`, `stopped` or `failed`. Cancelling tells the worker, which ends with its present step.

        Args:
            heard: is given every frame before it.

        Raises:
            UnavailableError: the process could not be started, or ended.
        """
        async with self._turn:
            self._tasks += 1
            task = Frame(words={**words, "id": self._tasks}, parts=tuple(parts))
            while True:
                conversation = await self._open()
                try:
                    return await _do(task, conversation, heard)
                except _GONE as error:
                    self._conversation = None
                    code = await conversation.end()
                    went_home = code == 0 and conversation.tasks > 1 and not conversation.heard
                    if not went_home:  # else there had been nothing to do for a while, and it left just as we called
                        raise _ended(code) from error

    async def aclose(self) -> None:
        """Ends the process, whatever it is doing."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await conversation.end()

    async def _open(self) -> _Conversation:
        if self._conversation is not None and self._conversation.process.returncode is not None:
            await self.aclose()
        if self._conversation is None:
            try:
                process = await anyio.open_process(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, env=self._environment)
            except OSError as error:
                raise UnavailableError(f"The worker process cannot be started: {error}.", provider="local") from error
            self._conversation = _Conversation(process)
        self._conversation.tasks += 1
        self._conversation.heard = False
        return self._conversation


async def _do(task: Frame, conversation: _Conversation, heard: Callable[[Frame], Awaitable[None]] | None) -> Frame:
    identity = task.words["id"]
    try:
        await conversation.send(task)
        while True:
            frame = await conversation.receive()
            if frame.words["id"] != identity:
                continue  # the last words on a task that was cancelled
            conversation.heard = True
            if frame.words["say"] in ("done", "stopped", "failed"):
                return frame
            if heard is not None:
                await heard(frame)
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(1, shield=True), suppress(*_GONE):
            await conversation.send(Frame(words={"do": "stop", "id": identity}))
        raise


def _ended(code: int) -> UnavailableError:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        words = f"was killed ({name})" + ("; the machine may be out of memory" if name == "SIGKILL" else "")
    else:
        words = f"ended with code {code}"
    return UnavailableError(
        f"The worker process {words} before the pictures were done. Nothing was billed; the next request starts it anew. Its last words are in the server's log.",
        provider="local",
    )


class _Conversation:
    """What goes to one process and comes from it. Being cancelled loses nothing: half a frame waits for its other half."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.tasks = 0
        """How many it was given."""
        self.heard = False
        """Whether it has said anything on the present task."""
        self._unpacker = Unpacker()
        self._frames: deque[Frame] = deque()

    async def send(self, frame: Frame) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(pack(frame))

    async def receive(self) -> Frame:
        assert self.process.stdout is not None
        while not self._frames:
            self._frames.extend(self._unpacker.feed(await self.process.stdout.receive()))
        return self._frames.popleft()

    async def end(self) -> int:
        """How it ended; it is killed where it does not end by itself."""
        with anyio.CancelScope(shield=True):
            assert self.process.stdin is not None
            with suppress(*_GONE):
                await self.process.stdin.aclose()
            with anyio.move_on_after(_GOODBYE):
                await self.process.wait()
            if self.process.returncode is None:
                with suppress(ProcessLookupError):
                    self.process.kill()
            code = await self.process.wait()
            await self.process.aclose()
        return code
