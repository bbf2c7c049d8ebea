"""The fault matrix: every fault, streamed and not, in every backend over HTTP.

Each cell is a request to the whole gateway, whose server fails in one way; behind each fault
comes a request that has to be answered as if nothing had been.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import broken_answers
import broken_connections
import refused_answers
from answer_frames import Wire, first_text
from fault import Fault
from fault_laws import Violation, judged
from visits import Visit, ask
from wire_servers import SERVERS
from wire_servers.base import Asked, Reply, WireServer
from wire_servers.llamacpp import LlamaServer

from llmgate.config import ModelSettings, ServerSettings, Settings, Timeouts
from llmgate.gateway import Gateway
from llmgate.server.app import build

FAULTS: tuple[Fault, ...] = (
    *broken_connections.FAULTS,
    *refused_answers.FAULTS,
    *broken_answers.FAULTS,
)
BACKENDS: dict[str, type[WireServer]] = {**SERVERS, "llamacpp": LlamaServer}
# Nobody waits longer for anything.
DEADLINE = 20.0
PATIENT = Timeouts(connect=10.0, first_token=15.0, between_tokens=15.0)
_HASTY = Timeouts(connect=1.0, first_token=0.5, between_tokens=0.5, total=1.8)
# Enough to make short work of them, few enough for timeouts to mean something on a busy machine.
_AT_ONCE = 6
# Most of the time they wait for timeouts.
_BACKENDS_AT_ONCE = 5
# When a client may leave: see `disconnected`.
WHEN = ("head", "first", "middle")
_NOWHERE = "no-such-host.invalid"
_PATIENCE = 5
_HEALTHY = Fault("nothing wrong", None, "answer")


@dataclass(frozen=True)
class Cell:
    """What became of one fault: `error`, `answer`, or `violation` with the reason."""

    backend: str
    fault: str
    way: str
    outcome: str
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.backend} / {self.fault} / {self.way}: {self.problem or self.outcome}"


class Troubled:
    """A server with a gateway before it; what goes wrong is told by the words of the request."""

    def __init__(self, server: WireServer, faults: Sequence[Fault]) -> None:
        self.server = server
        self._faults = {fault.name: fault for fault in faults}
        server.fault = self._fault

    def _fault(self, asked: Asked, reply: Reply) -> Reply | None:
        text = asked.body.decode("utf-8", "replace")
        _, marked, rest = text.partition("<<")
        fault = self._faults.get(rest.partition(">>")[0]) if marked else None
        if fault is None or fault.how is None:
            return reply
        return fault.how(Wire(self.server, asked, reply))

    def settings(self, url: str | None = None, **more: Any) -> ModelSettings:
        """A model on this server, asked once and for what it is."""
        wrapper = "auto" if self.server.chats else "chatml"
        own = {"wrapper": wrapper, "retries": 0, "cooldown": 1000.0, "health": 1000.0, **more}
        return self.server.settings(**own, **({} if url is None else {"url": url}))


@asynccontextmanager
async def serving(models: dict[str, ModelSettings]) -> AsyncIterator[Any]:
    """The gateway's app over these models, which are started."""
    gateway = Gateway.open(Settings(models=models))
    async with gateway:
        await gateway.start()
        yield build(gateway, ServerSettings())


async def rows_of(backends: Iterable[str]) -> dict[str, list[Cell]]:
    """The rows of these backends."""
    free = asyncio.Semaphore(_BACKENDS_AT_ONCE)

    async def row(backend: str) -> tuple[str, list[Cell]]:
        async with free:
            return backend, await _cells(backend)

    with _unknown_host():
        return dict(await asyncio.gather(*map(row, backends)))


async def _cells(backend: str, faults: Sequence[Fault] = FAULTS) -> list[Cell]:
    patient = [fault for fault in faults if not fault.hasty and fault.at is None]
    hasty = [fault for fault in faults if fault.hasty]
    elsewhere = [fault for fault in faults if fault.at is not None]
    async with BACKENDS[backend]() as server:
        troubled = Troubled(server, faults)
        models = {f"p{n}": troubled.settings(timeouts=PATIENT) for n in range(_AT_ONCE)}
        models |= {f"h{n}": troubled.settings(timeouts=_HASTY) for n in range(len(hasty))}
        for n, fault in enumerate(elsewhere):
            assert fault.at is not None
            models[f"e{n}"] = troubled.settings(fault.at(server.url), timeouts=PATIENT)
        rows = [(f"p{n}", patient[n::_AT_ONCE]) for n in range(_AT_ONCE)]
        late = [(f"h{n}", [fault]) for n, fault in enumerate(hasty)]
        late += [(f"e{n}", [fault]) for n, fault in enumerate(elsewhere)]
        cells: list[Cell] = []
        async with serving(models) as app:
            for work in (rows, late):
                done = await asyncio.gather(
                    *(_row(app, backend, model, some) for model, some in work)
                )
                cells += [cell for row in done for cell in row]
        return cells


async def _row(app: Any, backend: str, model: str, faults: Sequence[Fault]) -> list[Cell]:
    """The cells of some faults in one model, one after the other."""
    cells = []
    for fault in faults:
        cells.append(await _cell(app, backend, model, fault, streamed=False))
        cells.append(await _cell(app, backend, model, fault, streamed=True))
        if fault.at is None:
            after = await _cell(app, backend, model, _HEALTHY, streamed=len(cells) % 4 == 0)
            # Where timeouts are small, a busy machine takes longer now and then.
            for _ in range(_PATIENCE if fault.hasty else 0):
                if after.problem:
                    after = await _cell(app, backend, model, _HEALTHY, streamed=True)
            if after.problem:
                problem = f"the next request failed: {after.problem}"
                cells.append(Cell(backend, fault.name, "afterwards", "violation", problem))
    return cells


async def _cell(app: Any, backend: str, model: str, fault: Fault, *, streamed: bool) -> Cell:
    way = "streamed" if streamed else "whole"
    try:
        answer = await ask(app, request(model, f"<<{fault.name}>>", stream=streamed), DEADLINE)
        return Cell(backend, fault.name, way, judged(fault, backend, answer, streamed=streamed))
    except TimeoutError:
        problem = f"no end within {DEADLINE} s"
    except Violation as violation:
        problem = str(violation)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the cell's outcome
        problem = f"the app raised {error!r:.200}"
    return Cell(backend, fault.name, way, "violation", problem)


def request(model: str, text: str, **more: Any) -> dict[str, Any]:
    """A request that the made-up models answer with `SAID`."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


class _unknown_host:
    """Within it one host is not found, without anybody being asked for it."""

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._own = self._loop.getaddrinfo

        async def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
            if host == _NOWHERE:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return await self._own(host, *rest, **more)

        self._loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]

    def __exit__(self, *error: object) -> None:
        del self._loop.getaddrinfo


async def disconnected(backend: str, when: str, *, streamed: bool) -> float:
    """Seconds from a client's leaving to the moment when its server sees it, or raises.

    The server has nothing more to send by then: `when` is before its `head`, before the `first`
    piece of its answer, or in the `middle`.
    """
    async with BACKENDS[backend]() as server:
        sent = asyncio.Event()
        fault = Fault("stalls", lambda wire: _stalling(wire, when, sent), "error")
        troubled = Troubled(server, [fault])
        async with serving({"m": troubled.settings(timeouts=PATIENT)}) as app:
            visit = Visit(app, request("m", "<<stalls>>", stream=streamed))
            async with asyncio.timeout(DEADLINE):
                await sent.wait()
                if streamed and when == "middle" and server.streams:
                    await visit.answer.seen.wait()
                loop = asyncio.get_running_loop()
                began = loop.time()
                visit.leave()
                await server.left.wait()
                took = loop.time() - began
                await visit.task
                answer = await ask(app, request("m", "Hello"), DEADLINE)
                judged(_HEALTHY, backend, answer, streamed=False)
    return took


def _stalling(wire: Wire, when: str, sent: asyncio.Event) -> Reply:
    async def frames() -> AsyncIterator[bytes]:
        if when == "middle" and not wire.whole:
            whole = await wire.frames()
            for frame in whole[: first_text(whole) + 2]:
                yield frame
        sent.set()
        await asyncio.Event().wait()

    reply = wire.reply
    chunked = when != "head" and not reply.eof
    return Reply(frames(), 200, reply.type, chunked=chunked, eof=reply.eof and when != "head")
