"""The server as its users start it: a process of its own, on a pipe or on a port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

COMMAND = [sys.executable, "-m", "mcp_image_server"]


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """The least a process needs, and folders inside the test's own."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "COVERAGE_PROCESS_START") if name in os.environ}
    return {**kept, "HOME": str(folder), "MCP_DATA_DIR": str(folder / "data"), "MCP_IMAGE_SAVE_DIR": str(folder / "pictures"), **settings}


class Piped:
    """A server on standard input and output, spoken to in raw JSON lines."""

    def __init__(self, folder: Path, command: list[str] | None = None, /, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            command or COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=environment(folder, **settings)
        )

    def send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, identity: int | str) -> dict[str, Any]:
        """The reply of that id; notifications before it are passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == identity:
                assert isinstance(message, dict)
                return message
        raise AssertionError(f"the server closed its output before answering {identity}")

    def handshake(self, version: str = "2025-11-25") -> dict[str, Any]:
        self.send(initialize(version))
        reply = self.receive("init")
        self.send({"method": "notifications/initialized"})
        return reply

    def call(self, identity: int, tool: str, **arguments: Any) -> dict[str, Any]:
        """The JSON in the first block of a tool's answer."""
        self.send({"id": identity, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
        return answer_of(self.receive(identity))

    def kill(self) -> None:
        """Without a chance to say goodbye."""
        self.process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        self.process.communicate()

    def close(self) -> tuple[int, str]:
        """Ends input; the exit code and what was written to standard error."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors.decode()

    def __enter__(self) -> Piped:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                stream.close()


def initialize(version: str) -> dict[str, Any]:
    info = {"name": "a test", "version": "1"}
    return {"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": info}}


def answer_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    answer = json.loads(reply["result"]["content"][0]["text"])
    assert isinstance(answer, dict)
    return answer


@contextmanager
def on_a_port(folder: Path, **settings: str) -> Iterator[str]:
    """A server over HTTP; its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [*COMMAND, "serve", "--transport", "http", "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder, **settings),
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        with httpx2.Client(trust_env=False) as client:
            while True:
                try:
                    client.get(url + "/health").raise_for_status()
                    break
                except httpx2.TransportError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        raise AssertionError(process.communicate()[1].decode()) from None
                    time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors, errors.decode()
