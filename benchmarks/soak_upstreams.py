"""What stands behind the gateway in the soak, and what happens to it there."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import random
import signal
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import fault_matrix
from answer_frames import SAID, Wire
from fault import Fault
from wire_servers.base import Asked, Reply, WireServer

from benchmarks.servers import llama_server
from llmgate import resources
from llmgate.config import ModelSettings, Replica, Timeouts
from llmgate.types import Sampling

# How often the real server is started, before that it can't be counts as a failure of the test.
_STARTS = 20
# How often an answer of a made-up server goes wrong.
_FAULTY = 0.25
_SETTINGS: dict[str, Any] = {
    "timeouts": Timeouts(connect=1.0, first_token=3.0, between_tokens=2.0, total=10.0),
    "sampling": Sampling(temperature=0.0),
    "cooldown": 0.2,
    "health": 0.2,
    "queue": 16,
}
# Those after which it says all that it says otherwise, or fails.
_FAULTS: tuple[Fault, ...] = tuple(
    fault for fault in fault_matrix.FAULTS if fault.how is not None and fault.says == (SAID,)
)


class Trouble:
    """Servers that fail, are closed and opened again: some made up, one real, one engine."""

    def __init__(self, chance: random.Random) -> None:
        self.happened: dict[str, int] = {}
        self.healthy = False
        self._chance = chance
        self._made_up: list[WireServer] = []
        self._open: dict[WireServer, AsyncExitStack] = {}
        self._real = ExitStack()
        self._port = 0

    async def start(self) -> dict[str, ModelSettings]:
        """Start all of them: the models that they serve."""
        kinds = ("llamacpp", "llamacpp", "ollama", "openai-chat", "koboldcpp", "vllm")
        self._made_up = [fault_matrix.BACKENDS[kind]() for kind in kinds]
        for server in self._made_up:
            server.fault = self._fault
            await self._reopen(server)
        one, other, *others = self._made_up
        replicas = (Replica(other.url),)
        common = {**_SETTINGS, "wrapper": "chatml"}
        models = {
            "cached": one.settings(replicas=replicas, fallbacks=("weighted",), cache=1.0, **common),
            "weighted": one.settings(
                replicas=(Replica(other.url, weight=3.0),), balance="weighted", **common
            ),
        }
        for server in others:
            chats = {**_SETTINGS, "wrapper": "auto"} if server.chats else common
            models[server.backend] = server.settings(
                fallbacks=("cached",), concurrency=2, retries=1, **chats
            )
        if importlib.util.find_spec("xllamacpp") is not None:
            await asyncio.to_thread(self._start_real)
            url = f"http://127.0.0.1:{self._port}"
            models["real"] = ModelSettings(backend="llamacpp", url=url, concurrency=1, **common)
        if importlib.util.find_spec("llama_cpp") is not None:
            models["engine"] = ModelSettings(threads=1, **_SETTINGS)
        return models

    async def go_on(self) -> None:
        """Let something die every now and then, until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.3, 1.5))
            what = self._chance.choice((self._close_one, self._kill_engine, self._kill_real))
            await what()

    async def recover(self) -> None:
        """Let everything be well again."""
        self.healthy = True
        for server in self._made_up:
            if server not in self._open:
                await self._reopen(server)
        if self._port:
            await asyncio.to_thread(self._start_real)

    def forget(self) -> None:
        """Let go of what the made-up servers were asked: they are not what is measured."""
        for server in self._made_up:
            server.requests.clear()

    async def aclose(self) -> None:
        """Close all of them."""
        for stack in self._open.values():
            await stack.aclose()
        await asyncio.to_thread(self._real.close)

    def _fault(self, asked: Asked, reply: Reply) -> Reply | None:
        server = next(one for one in self._made_up if asked.path in one.answers)
        if self.healthy or self._chance.random() > _FAULTY:
            return reply
        fault = self._chance.choice(_FAULTS)
        assert fault.how is not None
        self._note("faults")
        return fault.how(Wire(server, asked, reply))

    async def _close_one(self) -> None:
        server = self._chance.choice(self._made_up)
        await self._open.pop(server).aclose()
        self._note("servers closed")
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await self._reopen(server)

    async def _reopen(self, server: WireServer) -> None:
        stack = AsyncExitStack()
        await stack.enter_async_context(server)
        self._open[server] = stack

    async def _kill_engine(self) -> None:
        for pid in workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._note("engines killed")

    async def _kill_real(self) -> None:
        if self._port:
            await asyncio.to_thread(self._real.close)
            self._note("llama-servers killed")
            await asyncio.sleep(self._chance.uniform(0.0, 1.0))
            await asyncio.to_thread(self._start_real)

    def _start_real(self) -> None:
        self._real.close()
        for attempt in range(_STARTS):
            server = llama_server(resources.default_model(), port=self._port)
            try:
                url, _ = self._real.enter_context(server)
                break
            except RuntimeError:
                # A connection of somebody else's may have got its port meanwhile.
                if attempt == _STARTS - 1:
                    raise
                time.sleep(0.5)
        self._port = int(url.rpartition(":")[2])

    def _note(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1


def workers() -> list[int]:
    """The processes of engines that this process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            engine = b"worker.main()" in (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended while we looked
        if parent == os.getpid() and engine:
            found.append(int(folder.name))
    return found
