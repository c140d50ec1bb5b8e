"""A server that is killed, and several servers over one history."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from .server_process import COMMAND, Piped, environment, until

EIGHT = {"prompt": "eight sailing boats on the sea at sunset", "n": 8, "resolution": "768x768", "wait_seconds": 0}


def until_drawing(server: Piped, job: str) -> None:
    """Returns once the job is under way and has drawn something."""
    deadline = time.monotonic() + 600
    number = 100
    while time.monotonic() < deadline:
        number += 1
        facts = server.call(number, "get_job", job_id=job, wait_seconds=0.05)["job"]
        if facts["state"] == "running" and facts["progress"] > 0:
            return
        assert facts["state"] in ("queued", "running"), facts
    raise AssertionError("the job never began")


def history(folder: Path, *words: str) -> Any:
    done = subprocess.run([*COMMAND, "history", *words, "--json"], capture_output=True, cwd=folder, env=environment(folder), check=False)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_killed_servers_job_is_finished_by_the_next_and_nothing_half_is_left(tmp_path: Path) -> None:
    with Piped(tmp_path) as server:
        server.handshake()
        job = server.call(1, "generate_image", **EIGHT)["job"]["id"]
        until_drawing(server, job)
        server.kill()
    for path in (tmp_path / "pictures").rglob("*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), f"{path} is half a picture"
    with Piped(tmp_path) as server:
        server.handshake()
        deadline = time.monotonic() + 600
        number = 1
        while (facts := server.call(number, "get_job", job_id=job, wait_seconds=5))["job"]["state"] in ("queued", "running"):
            number += 1
            assert time.monotonic() < deadline, facts
        assert facts["job"]["state"] == "succeeded", facts
        assert len({image["local_path"] for image in facts["images"]}) == 8
        assert server.close()[0] == 0
    assert history(tmp_path, "verify") == {"ok": True, "images": 8, "missing": [], "damaged": [], "unrecorded": [], "removed": []}


def test_starting_a_second_server_changes_nothing_for_the_firsts_jobs(tmp_path: Path) -> None:
    with Piped(tmp_path) as first:
        first.handshake()
        with Piped(tmp_path) as second:
            second.handshake()  # and opens the history when it is asked for something
            job = first.call(1, "generate_image", **EIGHT)["job"]["id"]
            until_drawing(first, job)
            assert second.call(1, "get_job", job_id=job, wait_seconds=0)["job"]["state"] == "running"
            assert second.close()[0] == 0
        done = first.call(2, "get_job", job_id=job, wait_seconds=600)
        assert done["job"]["state"] == "succeeded"
        assert len(done["images"]) == 8
        assert first.close()[0] == 0
    assert history(tmp_path, "verify")["ok"]


def test_a_job_left_by_a_server_that_went_in_order_is_taken_up_at_once(tmp_path: Path) -> None:
    with Piped(tmp_path) as first:
        first.handshake()
        job = first.call(1, "generate_image", **EIGHT)["job"]["id"]
        until_drawing(first, job)
        assert first.close()[0] == 0
    with Piped(tmp_path) as second:
        second.handshake()
        done = second.call(1, "get_job", job_id=job, wait_seconds=600)
        assert done["job"]["state"] == "succeeded"
        assert second.close()[0] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_client_that_is_gone_before_the_answer_ends_the_server_in_order_and_its_picture_is_kept(tmp_path: Path) -> None:
    with Piped(tmp_path) as server:
        server.handshake()
        server.send({"id": 1, "method": "tools/call", "params": {"name": "generate_image", "arguments": {"prompt": "a cat", "resolution": "64x64"}}})
        assert server.process.stdin is not None
        assert server.process.stdout is not None
        assert server.process.stderr is not None
        server.process.stdout.close()
        server.process.stdin.close()
        assert server.process.wait(60) == 0
        assert b"Traceback" not in server.process.stderr.read()
    assert len(history(tmp_path, "list")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
def test_a_server_told_to_stop_hands_its_job_over(tmp_path: Path) -> None:
    with Piped(tmp_path) as first:
        first.handshake()
        job = first.call(1, "generate_image", **EIGHT)["job"]["id"]
        until_drawing(first, job)
        first.process.terminate()
        assert first.process.wait(30) == 0
    with Piped(tmp_path) as second:
        second.handshake()
        assert second.call(1, "get_job", job_id=job, wait_seconds=600)["job"]["state"] == "succeeded"
        assert second.close()[0] == 0


def test_two_servers_that_open_a_new_history_at_the_same_moment_share_it(tmp_path: Path) -> None:
    with Piped(tmp_path) as one, Piped(tmp_path) as other:
        for server in (one, other):
            server.handshake()
            server.send(
                {"id": 1, "method": "tools/call", "params": {"name": "generate_image", "arguments": {"prompt": "a cat", "resolution": "64x64"}}}
            )
        for server in (one, other):
            assert not server.receive(1)["result"]["isError"]
        assert len(one.call(2, "search_images")["images"]) == 2
        assert (one.close()[0], other.close()[0]) == (0, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no process group to interrupt")
def test_ctrl_c_in_a_terminal_cancels_the_job_and_says_so(tmp_path: Path) -> None:
    """There, the signal reaches the painting process as well."""
    words = ["generate", "a big city at night", "--size", "2048x2048", "-n", "10", "--quiet"]
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs, perhaps these tests, ignore it
    )
    database = tmp_path / "data" / "history.sqlite3"

    def is_drawing() -> bool:
        if database.exists():
            with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
                return bool(connection.execute("SELECT count(*) FROM jobs WHERE progress > 0.2").fetchone() == (1,))
        return False

    until(is_drawing, "it is in the middle of its work")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.decode().strip()) == (130, "Interrupted; what was under way is cancelled.")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT state FROM jobs").fetchall() == [("cancelled",)]
    assert history(tmp_path, "verify")["ok"]
