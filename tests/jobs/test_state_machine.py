"""Jobs under everything that can happen to them, in any order: nothing is paid twice, nothing is lost, every job ends once.

Servers here share one folder and one set of services, are killed without a goodbye, are closed, fall silent, and their clocks are set. What they did is compared
with what the services saw.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio
import pytest
from anyio import CancelScope
from anyio.abc import TaskStatus
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, precondition, rule

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, RateLimitedError, RefusedError
from mcp_image_server.history import History, open_history
from mcp_image_server.jobs import Jobs, Timing, Workplace
from mcp_image_server.models import Catalogue, Cost, Generated, ImageRequest, Job, JobState, Limits, Model
from mcp_image_server.providers import Context
from mcp_image_server.store import folder_url, open_store
from tests.easel import CATALOGUE, MODEL, draw

from .place import an_offer, dead_owner

AWAKE = Timing(lease=300, heartbeat=0.1, sweep=0.1, glance=0.02, queue=0.05, murmur=5, grace=0.05)
"""Nobody is thought to be silent unless a rule says so."""

LIMIT = 2
PRICE = Cost(micros=40_000, currency="USD", source="list_price")
PAID = replace(PRICE, source="reported")
DEAD = dead_owner()

WORK = {
    "plain": ("slow", "at once", "busy", "lost", "refused", "no key"),
    "tasks": ("slow", "at once", "busy", "task then busy"),
    "engine": ("slow", "at once", "busy"),
}
"""By service, the first words of a prompt: what is done with it."""


@dataclass(frozen=True)
class Wish:
    """What somebody asks for."""

    principal: str
    asked: tuple[str, str]
    """Service and work."""
    server: int
    somebody_else: bool
    """May draw it when the service does not take it."""


WISHES = st.builds(
    Wish,
    principal=st.sampled_from(["ann", "bob"]),
    asked=st.sampled_from([(service, work) for service, works in WORK.items() for work in works]),
    server=st.integers(0, 1),
    somebody_else=st.booleans(),
)

Key = tuple[str, int | None]
"""Prompt and seed: each job has its own, whoever draws it."""


class Dead(BaseException):
    """What a process meets that has been killed: it writes nothing more."""


@dataclass
class Call:
    """One call of a service."""

    free: bool
    perhaps_taken: bool = True

    @property
    def perhaps_paid(self) -> bool:
        return self.perhaps_taken and not self.free


@dataclass
class World:
    """What the services saw. It outlives every server."""

    calls: dict[Key, list[Call]] = field(default_factory=dict)
    tasks: dict[Key, str] = field(default_factory=dict)
    taking: set[Key] = field(default_factory=set)
    """Requests whose task the service is allowed to take."""
    through: set[Key] = field(default_factory=set)
    """Requests that are let through the gate."""
    stolen: set[str] = field(default_factory=set)
    """Prompts of jobs that were taken from a server which went on with them."""
    moved: anyio.Event | None = None
    everybody: bool = False
    wrong: list[str] = field(default_factory=list)

    async def until(self, done: Callable[[], bool]) -> None:
        while not (self.everybody or done()):
            self.moved = self.moved or anyio.Event()
            await self.moved.wait()

    def move(self) -> None:
        if self.moved is not None:
            self.moved.set()
            self.moved = None


@dataclass
class Service:
    """A service that does what the first words of a prompt say."""

    world: World
    name: str
    repeatable: bool = False
    limits: Limits = field(default_factory=lambda: Limits(concurrent=LIMIT))
    catalogue: Catalogue = CATALOGUE
    at_work: list[Key] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.account = f"{self.name}:account"

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        key, call = (request.prompt, request.seed), Call(self.repeatable)
        earlier = self.world.calls.setdefault(key, [])
        if not self.repeatable and any(each.perhaps_paid for each in earlier):
            self.world.wrong.append(f"{self.name} was called again for {key}")
        earlier.append(call)
        async with self._working(key):
            await context.report(0.1, "begun")
            try:
                return await self.answer(request, context, key, len(earlier))
            except ProviderError as error:
                call.perhaps_taken = key in self.world.tasks or not (error.not_accepted or isinstance(error, RefusedError))
                raise

    async def answer(self, request: ImageRequest, context: Context, key: Key, number: int) -> Generated:
        self.fail(request, number)
        if not request.prompt.startswith("at once"):
            await self.world.until(lambda: key in self.world.through)
        await context.report(0.9, "nearly done")
        return self.drawn(request)

    def fail(self, request: ImageRequest, number: int) -> None:
        prompt = request.prompt
        if prompt.startswith("busy") and number <= 2:
            raise RateLimitedError("Too many.", provider=self.name, status=429, not_accepted=True)
        if prompt.startswith("lost"):
            raise BadReplyError("The line broke.", provider=self.name, may_have_been_billed=True)
        if prompt.startswith("refused"):
            raise RefusedError("No.", provider=self.name, status=400)
        if prompt.startswith("no key") and self.name == "plain":
            raise AuthError("Wrong key.", provider=self.name, status=401, not_accepted=True)

    def drawn(self, request: ImageRequest) -> Generated:
        return replace(draw(request), cost=None if self.repeatable else PAID)

    @asynccontextmanager
    async def _working(self, key: Key) -> AsyncIterator[None]:
        self.at_work.append(key)
        at_work = {each for each in self.at_work if each[0] not in self.world.stolen}
        if len(at_work) > LIMIT:
            self.world.wrong.append(f"{self.name} had {len(at_work)} at work: {at_work}")
        try:
            yield
        finally:
            self.at_work.remove(key)

    async def check(self) -> str:
        return ""

    async def aclose(self) -> None:
        pass


class TaskService(Service):
    """One that takes work as a task, which can be asked for again."""

    async def answer(self, request: ImageRequest, context: Context, key: Key, number: int) -> Generated:
        self.fail(request, number)
        if not request.prompt.startswith("at once"):
            await self.world.until(lambda: key in self.world.taking or key in self.world.through)
        self.world.tasks[key] = task = f"task of {key}"
        await context.accepted(task)
        if request.prompt.startswith("task then busy"):
            raise RateLimitedError("Too many looks.", provider=self.name, status=429, not_accepted=True)
        return await self.finished(request, key)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        key = (request.prompt, request.seed)
        if self.world.tasks.get(key) != task_id:
            self.world.wrong.append(f"{self.name} was asked for {task_id!r} of {key}")
        async with self._working(key):
            await context.report(0.5, "taken up")
            return await self.finished(request, key)

    async def finished(self, request: ImageRequest, key: Key) -> Generated:
        if not request.prompt.startswith("at once"):
            await self.world.until(lambda: key in self.world.through)
        return self.drawn(request)


class Mortal:
    """A history that a process can reach for as long as it lives. Each of its methods is one transaction, so death comes between two of them."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            raise Dead
        return getattr(self.history, name)


@dataclass
class Living:
    """A server."""

    jobs: Jobs
    history: Mortal
    scope: CancelScope
    told_to_close: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)


class Life(RuleBasedStateMachine):
    """Two servers at most, three services, and whatever happens."""

    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="jobs-")))
        self.portal = self.stack.enter_context(start_blocking_portal())
        self.world = World()
        services = (Service(self.world, "plain"), TaskService(self.world, "tasks"), Service(self.world, "engine", repeatable=True))
        self.services = {service.name: service for service in services}
        self.store = folder_url(self.folder / "pictures")
        self.offset = timedelta()
        self.number = 0
        self.troubled = False
        self.servers: list[Living] = []
        self.left: set[str] = set()
        self.ends: dict[str, str] = {}

    # ------------------------------------------------------------------ what may happen

    @initialize(target=known, wishes=st.lists(WISHES, min_size=4, max_size=6))
    def two_servers_start(self, wishes: list[Wish]) -> Any:
        for _ in range(2):
            self.start()
        return multiple(*(self.wished(wish) for wish in wishes))

    @precondition(lambda self: self.servers)
    @rule(target=known, wish=WISHES)
    def submit(self, wish: Wish) -> Job:
        return self.wished(wish)

    def wished(self, wish: Wish) -> Job:
        self.number += 1
        service, work = wish.asked
        others = [name for name in self.services if name != service] if wish.somebody_else else []
        request = ImageRequest(prompt=f"{work} {self.number}")
        job = self.call(lambda: self.enter(self.pick(wish.server), wish.principal, request, service, others))
        assert isinstance(job, Job)
        return job

    @precondition(lambda self: self.servers)
    @rule(job=known, server=st.integers(0, 1))
    def the_same_again(self, job: Job, server: int) -> None:
        """A job whose caller has gone is joined while it is unfinished; at any other time the same request may be a new job."""
        before = self.rows()
        request = replace(job.request, seed=None)
        again = self.call(lambda: self.enter(self.pick(server), job.principal, request, job.provider, [each.provider for each in job.alternates]))
        if job.id in self.left and not JobState(self.rows()[job.id]["state"]).ended:
            assert again.id in before, "it was not joined"
        self.left.discard(again.id)  # somebody waits for it again

    @precondition(lambda self: self.servers)
    @rule(job=known)
    def the_caller_leaves(self, job: Job) -> None:
        self.call(lambda: self.pick(0).jobs.leave(job.id))
        self.left.add(job.id)

    @rule(job=known)
    def the_service_takes_it(self, job: Job) -> None:
        self.call(self.open, self.world.taking, key_of(job))

    @rule(job=consumes(known))
    def it_is_let_through(self, job: Job) -> None:
        self.call(self.open, self.world.through, key_of(job))

    @precondition(lambda self: self.servers)
    @rule(job=known, server=st.integers(0, 1))
    def cancel(self, job: Job, server: int) -> None:
        self.call(lambda: self.pick(server).jobs.cancel(job.id))

    @precondition(lambda self: self.servers)
    @rule(server=st.integers(0, 1))
    def crash(self, server: int) -> None:
        self.kill(self.pick(server))

    @precondition(lambda self: self.servers)
    @rule(server=st.integers(0, 1))
    def close(self, server: int) -> None:
        self.end(self.pick(server))

    @precondition(lambda self: len(self.servers) < 2)
    @rule()
    def start_another(self) -> None:
        self.start()

    @rule(hours=st.sampled_from([-1, 1]))
    def the_clock_is_set(self, hours: int) -> None:
        self.offset += timedelta(hours=hours)

    @precondition(lambda self: len(self.servers) == 2)
    @rule()
    def one_seems_silent_to_the_other(self) -> None:
        self.call(self.take_from_the_living)

    # ------------------------------------------------------------------ what holds

    @invariant()
    def services_saw_nothing_wrong(self) -> None:
        assert self.world.wrong == []

    @invariant()
    def the_record_is_whole(self) -> None:
        rows = self.rows()
        for job_id, row in rows.items():
            was, state = self.ends.get(job_id), row["state"]
            # Pictures that come late are stronger than an end without pictures.
            assert was in (None, state) or (row["prompt"] in self.world.stolen and state == "succeeded"), f"{job_id} was {was} and is {state}"
            if JobState(state).ended:
                self.ends[job_id] = state
            assert row["sequences"] == list(range(1, row["events"] + 1))
            assert row["ledger"] == (row["cost"] and (row["cost"]["micros"], row["cost"]["currency"], row["cost"]["source"]))

    def teardown(self) -> None:
        try:
            self.call(self.let_everybody_through)
            if not self.servers:
                self.start()
            self.call(self.all_ended)
            self.services_saw_nothing_wrong()
            self.the_record_is_whole()
            for row in self.rows().values():
                self.is_true(row)
        finally:
            for living in list(self.servers):
                self.end(living)
            self.stack.close()

    def is_true(self, row: dict[str, Any]) -> None:
        """What a job says at its end, compared with what the services saw."""
        calls = self.world.calls.get((row["prompt"], row["seed"]), [])
        free = row["provider"] == "engine"
        if row["state"] == "succeeded":
            assert len(row["images"]) == 1
            assert calls
            for url, key, digest in row["images"]:
                assert hashlib.sha256(Path(url2pathname(urlsplit(url).path), key).read_bytes()).hexdigest() == digest
            assert row["cost"] is None if free else row["cost"]["micros"] == PRICE.micros
        else:
            assert row["images"] == []
            billed = bool(row["failure"] and row["failure"]["may_have_been_billed"])
            if not free:
                paid = any(call.perhaps_paid for call in calls)
                assert billed or not paid, row
                assert paid or not billed or self.troubled, row
            assert (row["cost"] and row["cost"]["micros"]) == (PRICE.micros if billed and not free else None), row

    # ------------------------------------------------------------------ how it is done

    def call(self, work: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        async def bounded() -> Any:
            with anyio.fail_after(60):  # a hang, even on a busy machine
                return await work(*args)

        return self.portal.call(bounded)

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def pick(self, server: int) -> Living:
        return self.servers[server % len(self.servers)]

    def start(self) -> None:
        _, living = self.portal.start_task(self.serve)
        self.servers.append(living)

    def kill(self, living: Living) -> None:
        self.servers.remove(living)
        self.troubled = True

        async def die() -> None:
            living.history.dead = True
            living.scope.cancel()
            await living.gone.wait()

        self.call(die)
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            connection.execute("UPDATE jobs SET owner = ? WHERE owner = ?", (DEAD, living.jobs.owner))

    def end(self, living: Living) -> None:
        self.servers.remove(living)

        async def close() -> None:
            living.told_to_close.set()
            await living.gone.wait()

        self.call(close)

    async def serve(self, *, task_status: TaskStatus[Living]) -> None:
        history = await open_history(self.folder / "data")
        mortal = Mortal(history)
        gone = anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                place = Workplace(
                    provider=lambda name: self.services.get(name),
                    model=lambda provider, name: replace(MODEL, provider=provider),
                    price=lambda provider, name: None,
                    open_store=open_store,
                    rescue_url=folder_url(self.folder / "rescued"),
                    retries=lambda: 3,
                    setback=0.01,
                    clock=self.clock,
                )
                jobs = Jobs(
                    cast("History", mortal),
                    tasks,
                    place=place,
                    limits=lambda name: self.services[name].limits,
                    timeout=lambda: 60,
                    slots=4,
                    timing=AWAKE,
                )
                tasks.start_soon(jobs.run)
                living = Living(jobs, mortal, tasks.cancel_scope, gone=gone)
                task_status.started(living)
                await living.told_to_close.wait()
                with anyio.CancelScope(shield=True):
                    await jobs.close()
                tasks.cancel_scope.cancel()
        except* Dead:
            pass
        finally:
            with anyio.CancelScope(shield=True):
                await history.close()
            gone.set()

    async def enter(self, living: Living, principal: str, request: ImageRequest, service: str, others: list[str]) -> Job:
        offers = [
            replace(an_offer(request), provider=each, account=f"{each}:account", estimate=replace(PRICE, micros=0) if each == "engine" else PRICE)
            for each in (service, *others)
        ]
        return await living.jobs.submit(principal, offers[0], alternates=offers[1:], store_url=self.store, join_after=3)

    async def open(self, gate: set[Key], key: Key) -> None:
        gate.add(key)
        self.world.move()

    async def let_everybody_through(self) -> None:
        self.world.everybody = True
        self.world.move()

    async def take_from_the_living(self) -> None:
        slow, other = self.servers
        self.troubled = True
        # From here on both may be at work on one. Its own look may take them, too, as long as it has no patience.
        self.world.stolen |= {row["prompt"] for row in self.rows().values() if row["owner"] == slow.jobs.owner}
        patience, other.jobs._timing = other.jobs._timing, replace(AWAKE, lease=0)
        await other.jobs.take_up()
        other.jobs._timing = patience

    async def all_ended(self) -> None:
        while any(not JobState(row["state"]).ended for row in self.rows().values()):
            await anyio.sleep(0.02)

    @property
    def database(self) -> Path:
        return self.folder / "data" / "history.sqlite3"

    def rows(self) -> dict[str, dict[str, Any]]:
        """Every job as the database has it, past our own code, in one snapshot."""
        with closing(sqlite3.connect(self.database, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            found = {row["id"]: dict(row) | {"sequences": [], "ledger": None, "images": []} for row in connection.execute("SELECT * FROM jobs")}
            for job_id, sequence in connection.execute("SELECT job_id, sequence FROM events ORDER BY sequence"):
                found[job_id]["sequences"].append(sequence)
            for job_id, *entry in connection.execute("SELECT job_id, micros, currency, source FROM ledger"):
                found[job_id]["ledger"] = tuple(entry)
            for job_id, *image in connection.execute("SELECT job_id, store_url, key, sha256 FROM images"):
                found[job_id]["images"].append(image)
        for row in found.values():
            request = json.loads(row["request"])
            row |= {"prompt": request["prompt"], "seed": request["seed"]}
            row |= {name: json.loads(row[name]) if row[name] else None for name in ("cost", "failure")}
        return found


def key_of(job: Job) -> Key:
    return (job.request.prompt, job.request.seed)


TestLife = pytest.mark.long(Life.TestCase)
TestLife.settings = settings(
    max_examples=12,
    stateful_step_count=18,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # to find a shorter life that ends as badly takes minutes; add Phase.shrink when there is one to look into
    suppress_health_check=[HealthCheck.too_slow],
)
