"""An internet inside this machine."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest


class Internet:
    """Names and public addresses that lead to servers of this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {}
        """Name to the answers given one after another; the last stays."""
        self.hosts: dict[str, int] = {}
        """Public address to the port of this machine behind it."""
        self.asked: list[str] = []
        self.connected: list[str] = []
        true_getaddrinfo, true_connect = socket.getaddrinfo, anyio.connect_tcp

        def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else str(host)
            if name not in self.names:
                if name.startswith("127."):
                    return true_getaddrinfo(host, port, *rest, **more)
                raise socket.gaierror(f"{name} is unknown")
            self.asked.append(name)
            answers = self.names[name]
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port))) for address in addresses]

        async def connect_tcp(remote_host: Any, remote_port: int, **more: Any) -> Any:
            self.connected.append(str(remote_host))
            if str(remote_host) in self.hosts:
                return await true_connect("127.0.0.1", self.hosts[str(remote_host)], **more)
            return await true_connect(remote_host, remote_port, **more)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)
