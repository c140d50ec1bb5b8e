"""The server as its users start it: a process of its own, on a pipe or on a port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2

from tests.ports import free_port

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

    def receive_all(self, identities: Iterable[int | str]) -> dict[int | str, dict[str, Any]]:
        """The replies of these ids, in whichever order they come."""
        assert self.process.stdout is not None
        missing, replies = set(identities), {}
        while missing:
            line = self.process.stdout.readline()
            assert line, f"the server closed its output before answering {missing}"
            message = json.loads(line)
            if message.get("id") in missing:
                missing.remove(message["id"])
                replies[message["id"]] = message
        return replies

    def handshake(self, version: str = "2025-11-25") -> dict[str, Any]:
        self.send(initialize(version))
        reply = self.receive("init")
        self.send({"method": "notifications/initialized"})
        return reply

    def ask(self, identity: int, tool: str, **arguments: Any) -> None:
        """Calls a tool; `receive` has its answer."""
        self.send({"id": identity, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})

    def call(self, identity: int, tool: str, **arguments: Any) -> dict[str, Any]:
        """The JSON in the first block of a tool's answer."""
        self.ask(identity, tool, **arguments)
        return answer_of(self.receive(identity))

    def kill(self) -> list[dict[str, Any]]:
        """Without a chance to say goodbye; the messages that nobody had read."""
        return [json.loads(line) for line in _kill(self.process).splitlines(keepends=True) if line.endswith(b"\n")]

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


def until(what: Callable[[], bool], words: str, *, seconds: float = 180) -> None:
    """Returns once it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {words}"
        time.sleep(0.05)


def initialize(version: str) -> dict[str, Any]:
    info = {"name": "a test", "version": "1"}
    return {"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": info}}


def answer_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    answer = json.loads(reply["result"]["content"][0]["text"])
    assert isinstance(answer, dict)
    return answer


class Served:
    """A server over HTTP, at `url`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--transport", "http", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(folder, **settings),
        )
        deadline = time.monotonic() + 180
        with httpx2.Client(trust_env=False, timeout=60) as client:
            while True:
                try:
                    client.get(self.url + "/health").raise_for_status()
                    return
                except httpx2.TransportError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        self.process.kill()
                        raise AssertionError(self.process.communicate()[1].decode()) from None
                    time.sleep(0.05)

    def kill(self) -> None:
        """Without a chance to say goodbye."""
        _kill(self.process)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is not None:
            return
        self.process.terminate()
        errors = self.process.communicate(timeout=60)[1]
        assert b"Traceback" not in errors, errors.decode()


@contextmanager
def on_a_port(folder: Path, **settings: str) -> Iterator[str]:
    """A server over HTTP; its address."""
    with Served(folder, **settings) as server:
        yield server.url


class Poster:
    """A client over HTTP that posts raw JSON, in a version with a handshake or in one without."""

    def __init__(self, url: str, version: str = "2025-11-25") -> None:
        headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": version}
        self._client = httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=180)
        self._meta: dict[str, Any] = {}
        if version >= "2026-07-28":
            self._meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}}}
            return
        reply = self._client.post("/mcp", json=initialize(version))
        self._client.headers["mcp-session-id"] = reply.headers["mcp-session-id"]
        self._client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, identity: int, tool: str, **arguments: Any) -> dict[str, Any]:
        """The JSON in the first block of a tool's answer."""
        message, headers = self._message(identity, tool, arguments)
        reply = self._client.post("/mcp", json=message, headers=headers)
        lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith(("data: {", "{"))]
        return answer_of(json.loads(lines[-1]))

    @contextmanager
    def asking(self, identity: int, tool: str, **arguments: Any) -> Iterator[None]:
        """A call for whose answer nobody waits: the connection is closed at the end of the block."""
        message, headers = self._message(identity, tool, arguments)
        connection = HTTPConnection(self._client.base_url.host, self._client.base_url.port)
        connection.request("POST", "/mcp", json.dumps(message), {**self._client.headers, **headers, "content-type": "application/json"})
        try:
            yield
        finally:
            connection.close()

    def _message(self, identity: int, tool: str, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        params = {"name": tool, "arguments": arguments, **self._meta}
        return {"jsonrpc": "2.0", "id": identity, "method": "tools/call", "params": params}, {"mcp-method": "tools/call", "mcp-name": tool}

    def __enter__(self) -> Poster:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _kill(process: subprocess.Popen[bytes]) -> bytes:
    """Ends the process at once; what is left of its output."""
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    said: bytes = process.stdout.read() if process.stdout is not None else b""
    process.communicate()
    return said
