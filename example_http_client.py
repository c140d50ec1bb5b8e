"""How any program talks to the server over HTTP: plain JSON-RPC, with nothing but an HTTP client.

    mcp-image-server serve --transport http         in one terminal
    python example_http_client.py basic             in another: health, tools, providers
    python example_http_client.py generate          draws a picture

The server's address and token come from --url and --token, else from MCP_HOST, MCP_PORT and MCP_AUTH_TOKEN.
"""

# ruff: noqa: T201 - it speaks to a person at a terminal

from __future__ import annotations

import argparse
import json
import os
import sys
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx2

ADDRESS = f"http://{os.environ.get('MCP_HOST') or '127.0.0.1'}:{os.environ.get('MCP_PORT') or '8000'}"


class Conversation:
    """One session with the server.

    The first message is `initialize`; its answer carries the session's id, which every later message repeats. Answers are one JSON object each. A program that
    wants to hear of progress names `text/event-stream` in Accept as well, and reads server-sent events.
    """

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self._ids = count(1)
        self._session: dict[str, str] = {}

    def begin(self) -> dict[str, Any]:
        """What the server says about itself."""
        info = {"name": "example_http_client", "version": "1"}
        result = self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=info)
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method; what the server refuses ends the program with its words."""
        reply = self._post({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        answer = reply.json()
        if "error" in answer:
            sys.exit(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The JSON of a tool's answer; a failure ends the program with its words."""
        answer: dict[str, Any] = json.loads(self.ask("tools/call", name=name, arguments=arguments)["content"][0]["text"])
        if not answer["ok"]:
            sys.exit(f"{name}: {answer['error']['message']}")
        return answer

    def end(self) -> None:
        """Tells the server that the session may be forgotten."""
        self._client.delete("/mcp/v1/messages", headers=self._session)

    def _post(self, message: dict[str, Any]) -> httpx2.Response:
        reply = self._client.post("/mcp/v1/messages", json=message, headers=self._session)
        if reply.status_code >= 400:
            sys.exit(f"The server answers {reply.status_code}: {reply.text}")
        if session := reply.headers.get("mcp-session-id"):
            self._session = {"Mcp-Session-Id": session}
        return reply


def basic(client: httpx2.Client, talk: Conversation) -> None:
    """Looks at health, tools and providers."""
    print("health:", client.get("/health").json()["status"])
    server = talk.begin()
    print("server:", server["serverInfo"]["name"], server["serverInfo"]["version"], "protocol", server["protocolVersion"])
    print("tools:", ", ".join(tool["name"] for tool in talk.ask("tools/list")["tools"]))
    content = talk.ask("resources/read", uri="providers://list")["contents"][0]
    print("providers:", ", ".join(json.loads(content["text"])))


def generate(talk: Conversation, prompt: str) -> None:
    """Draws a picture with the server's default provider."""
    talk.begin()
    answer = talk.tool("generate_image", prompt=prompt)
    while not answer["images"]:
        print("still at work:", answer["job"].get("message") or answer["job"]["state"])
        answer = talk.tool("get_job", job_id=answer["job"]["id"])
    for image in answer["images"]:
        print("path:", image["local_path"])
        print("url:", image["url"])


def main() -> None:
    """Does what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["basic", "generate"])
    parser.add_argument("--url", default=ADDRESS, help=f"address of the server; now {ADDRESS}")
    parser.add_argument("--token", default=os.environ.get("MCP_AUTH_TOKEN", ""), help="the server's MCP_AUTH_TOKEN")
    parser.add_argument("--prompt", default="a red fox under a full moon in a snowy pine forest", help="what to draw")
    options = parser.parse_args()
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    here = urlsplit(options.url).hostname in ("127.0.0.1", "localhost", "::1")
    # A proxy of the environment is for other machines. The server answers within MCP_WAIT_SECONDS, which is 40 where it is not set.
    with httpx2.Client(base_url=options.url, headers=headers, trust_env=not here, timeout=120) as client:
        talk = Conversation(client)
        try:
            if options.what == "basic":
                basic(client, talk)
            else:
                generate(talk, options.prompt)
            talk.end()
        except httpx2.TransportError as error:
            sys.exit(f"No server answers at {options.url} ({error}). Start it: mcp-image-server serve --transport http")


if __name__ == "__main__":
    main()
