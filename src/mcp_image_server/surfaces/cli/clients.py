"""The clients that `install` knows: where each keeps its servers, and how it writes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client; the paths begin with `~`, with `{config}` (where programs of this system keep settings) or `{xdg}` (the same, on macOS as on Linux)."""

    title: str
    file: str
    windows_file: str = ""
    """Where it is another one on Windows."""
    project_file: str = ""
    """The one of a project, in its folder; empty: there is none."""
    table: str = "mcpServers"
    """The name under which servers stand."""
    stdio: Mapping[str, Any] = field(default_factory=dict)
    """What it wants to read besides of a server that it starts."""
    http: Mapping[str, Any] = field(default_factory=dict)
    """What it wants to read besides of a server at an address."""
    address: str = "url"
    """Its name for the address; empty: it knows only servers that it starts."""
    then: str = "Restart it."
    """What the person does next."""

    def path(self, home: Path, system: str, environment: Mapping[str, str]) -> Path:
        """The person's own file.

        Args:
            system: as `sys.platform` names it.
        """
        match system:
            case "darwin":
                config = home / "Library" / "Application Support"
            case "win32":
                config = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
            case _:
                config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        xdg = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        written = self.windows_file if system == "win32" and self.windows_file else self.file
        places = {"~": home, "{config}": config, "{xdg}": xdg}
        first, _, rest = written.partition("/")
        return places[first] / rest

    def entry(self, old: Mapping[str, Any], *, command: list[str], env: Mapping[str, str]) -> dict[str, Any]:
        """A server that the client starts, with what the old entry had besides."""
        kept = {name: value for name, value in old.items() if name not in (self.address, "headers", *self.http)}
        variables = {**old.get("env", {}), **env}
        new = {**self.stdio, "command": command[0], "args": command[1:]}
        return {**kept, **new, **({"env": variables} if variables else {})}

    def remote_entry(self, old: Mapping[str, Any], *, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """A server at that address, with what the old entry had besides.

        Raises:
            RequestError: the client knows only servers that it starts.
        """
        if not self.address:
            raise RequestError(
                f"{self.title} reads no addresses from its file. Leave --url away, so that it starts a server itself; "
                "or add the address as a connector in its settings, for which the server needs public HTTPS and OAuth."
            )
        kept = {name: value for name, value in old.items() if name not in ("command", "args", "env", *self.stdio)}
        lines = {**old.get("headers", {}), **headers}
        return {**kept, **self.http, self.address: url, **({"headers": lines} if lines else {})}


CLIENTS: Mapping[str, Client] = {
    "claude-desktop": Client(
        title="Claude Desktop", file="{config}/Claude/claude_desktop_config.json", address="", then="Quit it wholly and start it again."
    ),
    "claude-code": Client(
        title="Claude Code",
        file="~/.claude.json",
        project_file=".mcp.json",
        stdio={"type": "stdio"},
        http={"type": "http"},
        then="Begin a new conversation; /mcp shows the server.",
    ),
    "cursor": Client(
        title="Cursor", file="~/.cursor/mcp.json", project_file=".cursor/mcp.json", then="Switch it on under Settings, MCP, if it is not."
    ),
    "vscode": Client(
        title="VS Code",
        file="{config}/Code/User/mcp.json",
        project_file=".vscode/mcp.json",
        table="servers",
        stdio={"type": "stdio"},
        http={"type": "http"},
        then="The command MCP: List Servers shows it.",
    ),
    "windsurf": Client(
        title="Windsurf", file="~/.codeium/windsurf/mcp_config.json", address="serverUrl", then="Refresh the list of servers in Cascade."
    ),
    "zed": Client(
        title="Zed",
        file="{xdg}/zed/settings.json",
        windows_file="{config}/Zed/settings.json",
        project_file=".zed/settings.json",
        table="context_servers",
        then="The settings of the agent panel show it.",
    ),
    "cline": Client(
        title="Cline",
        file="{config}/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        http={"type": "streamableHttp"},
        then="Its page of MCP servers shows it.",
    ),
    "gemini-cli": Client(title="Gemini CLI", file="~/.gemini/settings.json", project_file=".gemini/settings.json", address="httpUrl"),
    "qwen-code": Client(title="Qwen Code", file="~/.qwen/settings.json", project_file=".qwen/settings.json", address="httpUrl"),
    "lm-studio": Client(title="LM Studio", file="~/.lmstudio/mcp.json", then="Switch it on under Program, Integrations."),
    "kiro": Client(title="Kiro", file="~/.kiro/settings/mcp.json", project_file=".kiro/settings/mcp.json"),
}
"""By the name that the command line has for each; files and fields as their documents of 2026 say."""
