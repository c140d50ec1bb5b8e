"""`make conformance`: the official conformance suite (https://github.com/modelcontextprotocol/conformance) against the server.

Twice: every scenario that a server without fixtures can pass against the product as users start it; and everything that the suite requires of a protocol
version, with the tasks extension, against the product's application with the fixtures. Prints a table; exits 1 when a check fails, is missing or was skipped
without a reason that is given here.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.clients.node import environment, script
from tests.ports import free_port
from tests.transports.server_process import Served, until

PLAIN = (
    "server-initialize",
    "server-session-lifecycle",
    "server-stateless",
    "server-sse-multiple-streams",
    "ping",
    "completion-complete",
    "tools-list",
    "prompts-list",
    "resources-list",
    "sep-2164-resource-not-found",
    "caching",
    "dns-rebinding-protection",
    "http-header-validation",
)
"""What needs no fixtures. Some more pass without, such as `tools-call-error`, because a tool that does not exist fails as well: they prove nothing here."""

REQUIRED = {"2025-11-25": 33, "2026-07-28": 50}
"""Versions with requirements, and how many scenarios they are, with those that the suite runs but does not score: tasks, among others."""

EXCUSED = {
    (
        "plain",
        "server-stateless",
        "sep-2575-server-rejects-undeclared-capability",
    ): "no tool of ours needs a capability; the fixtures have one that does",
    ("plain", "server-stateless", "sep-2575-missing-capability-http-400"): "the same",
    (
        "plain",
        "server-stateless",
        "sep-2575-server-sends-tools-list-changed-on-subscription",
    ): "nothing the suite can call changes a list; fixtures do",
    ("plain", "server-stateless", "sep-2575-server-sends-prompts-list-changed-on-subscription"): "the same",
    ("required", "tasks-status-notifications", "*"): "the suite itself skips it, until it listens where they are sent now",
    ("required", "server-sse-polling", "*"): "streams are not resumed; a call that lost its connection is found again with get_job",
}
"""Checks that may fail, and why. One that passes after all fails the run, so that the list stays true."""


@dataclass
class Result:
    """What one scenario came to."""

    kind: str
    version: str
    scenario: str
    counts: Counter[str] = field(default_factory=Counter)
    excused: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextmanager
def fixtures() -> Iterator[str]:
    """The product with the fixtures, on a port. Some fixtures fail on purpose, and what is logged of that is not read."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "tests.conformance.fixtures", str(port)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: server.poll() is not None or is_listening(port), "the fixtures listen")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def is_listening(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def run(kind: str, version: str, url: str, *arguments: str) -> Iterator[Result]:
    """The results of a run of the suite, scenario by scenario."""
    with TemporaryDirectory() as folder:
        suite = script("@modelcontextprotocol/conformance", "dist/index.js")
        command = [*suite, "server", "--url", f"{url}/mcp", "--output-dir", folder, *arguments]
        subprocess.run(command, env=environment(), capture_output=True, check=False, timeout=300)
        for path in sorted(Path(folder).glob("server-*/checks.json"), key=lambda path: path.stat().st_mtime_ns):
            scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", path.parent.name.removeprefix("server-"))
            yield judged(Result(kind, version, scenario), json.loads(path.read_text(encoding="utf-8")))


def judged(result: Result, checks: list[Mapping[str, str]]) -> Result:
    """The result with these checks counted."""
    for check in checks:
        excuse = next((words for place in (check["id"], "*") if (words := EXCUSED.get((result.kind, result.scenario, place)))), None)
        if check["status"] == "INFO":
            continue
        if excuse is not None and check["status"] != "SUCCESS":
            result.excused.append(f"{check['id']}: {excuse}")
            continue
        result.counts[check["status"]] += 1
        if excuse is not None:
            result.problems.append(f"{check['id']} passes: take it off the list of what may fail")
        elif check["status"] != "SUCCESS":
            result.problems.append(f"{check['id']} {check['status']}: {check.get('errorMessage', check.get('description', ''))}")
    return result


def main() -> int:
    """Runs everything; the exit code."""
    results: list[Result] = []
    with TemporaryDirectory() as folder:
        with Served(Path(folder) / "plain") as product:
            for version in ("2025-06-18", "2025-11-25", "2026-07-28"):
                found = run("plain", version, product.url, "--suite", "all", "--spec-version", version)
                results += [result for result in found if result.scenario in PLAIN]
        with fixtures() as url:
            for version in REQUIRED:
                results += run("required", version, url, "--requirements", version)
    for result in results:
        print(f"{result.kind:9} {result.version:11} {result.scenario:48} {result.counts['SUCCESS']:3} passed, {len(result.problems)} failed")
        for words in result.excused:
            print(f"{'':22} may fail: {words}")
        for words in result.problems:
            print(f"{'':22} FAILED: {words}")
    return summary(results)


def summary(results: list[Result]) -> int:
    """Prints the counts; 1 where something failed or did not run at all."""
    print()
    missing = [f"plain {scenario}" for scenario in PLAIN if not any((result.kind, result.scenario) == ("plain", scenario) for result in results)]
    for kind, version in sorted({(result.kind, result.version) for result in results}):
        part = [result for result in results if (result.kind, result.version) == (kind, version)]
        passed, failed = sum(result.counts["SUCCESS"] for result in part), sum(len(result.problems) for result in part)
        print(
            f"{kind} {version}: {len(part)} scenarios, {passed} checks passed, {failed} failed, {sum(len(result.excused) for result in part)} excused"
        )
    for version, wanted in REQUIRED.items():
        ran = sum((result.kind, result.version) == ("required", version) for result in results)
        missing += [f"required {version}: {ran} scenarios instead of {wanted}"] if ran != wanted else []
    for words in missing:
        print(f"DID NOT RUN: {words}")
    passed, failed = sum(result.counts["SUCCESS"] for result in results), sum(len(result.problems) for result in results) + len(missing)
    print(f"conformance: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
