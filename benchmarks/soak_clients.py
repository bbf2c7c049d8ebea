"""The clients of the soak: they ask, leave in the middle, and ask for what can't be answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from typing import Any

import httptools
from fault import Fault
from fault_laws import Violation, judged
from visits import Answer

KEY = "key-of-many"
_FEW = "key-of-few"
_PARIS = "The capital of France is Paris."
_QUESTION = "What is the capital of France?"
_REFUSED = (400, 401, 404, 413, 422, 424, 429, 502, 503, 504)
# An answer that is right, or an error that is one.
_ANY = Fault("any", None, "either", _REFUSED, says=(_PARIS,))
_RIGHT = Fault("none", None, "answer", says=(_PARIS,))
# Longer than any of the gateway's own limits allows.
_PATIENCE = 60.0
_SCHEMA = {"type": "object", "properties": {"a": {"$ref": "https://example.org/x"}}}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": _SCHEMA}}


class Parser:
    """Reads one answer."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.answer.pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True


class Clients:
    """Several clients at once; `seen` counts what became of their requests."""

    def __init__(self, port: int, models: list[str], chance: random.Random) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._port = port
        self._models = models
        self._chance = chance

    async def go_on(self) -> None:
        """Ask one thing after the other, until cancelled."""
        ways = (self._ask, self._abort, self._ask_badly)
        while True:
            (way,) = self._chance.choices(ways, (8, 2, 2))
            await self._judge(way())

    async def ask_all(self) -> list[str]:
        """What is wrong with the answers of models that are well."""
        before, self.wrong = self.wrong, []
        for model in self._models:
            for streamed in (False, True):
                await self._judge(self._ask(model, streamed, _RIGHT))
        found, self.wrong = self.wrong, before
        return found

    async def _judge(self, work: Any) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await work
        except TimeoutError:
            self.wrong.append(f"no answer in {_PATIENCE} s")
        except (Violation, OSError, httptools.HttpParserError) as error:
            self.wrong.append(f"{type(error).__name__}: {error}")

    async def _ask(
        self, model: str | None = None, streamed: bool | None = None, expected: Fault = _ANY
    ) -> None:
        model = model or self._chance.choice(self._models)
        streamed = self._chance.random() < 0.5 if streamed is None else streamed
        body = self._body(model, stream=streamed)
        answer = await self._answer(body)
        try:
            outcome = judged(expected, model, answer, streamed=streamed)
        except Violation as violation:
            raise Violation(f"{model}: {violation}") from violation
        code = "" if outcome == "answer" else f" {_code(answer)}"
        self.seen[f"{outcome}{code}"] += 1

    async def _abort(self) -> None:
        """Leave, before there is anything or in the middle of it."""
        body = self._body(self._chance.choice(self._models), stream=self._chance.random() < 0.8)
        reader, writer = await self._send(body)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.choice((0.0, 0.02, 0.1, 0.5))):
                    await reader.read(self._chance.choice((1, 400, 2000)))
        finally:
            writer.transport.abort()
        self.seen["left"] += 1

    async def _ask_badly(self) -> None:
        model = self._chance.choice(self._models)
        cases: list[tuple[Any, tuple[int, ...]]] = [
            (b"", (400,)),
            (b'{"model": "cached", "messages": [', (400,)),
            (b"\xff\xfe\x00", (400,)),
            (b"[" * 50_000, (400,)),
            (b"x" * 300_000, (413,)),
            (self._body("nobody"), (404,)),
            (self._body(model, messages=[]), (400,)),
            (self._body(model, messages="Hello"), (400,)),
            (self._body(model, temperature="hot"), (400,)),
            (self._body(model, tools=[_TOOL], tool_choice="required"), (400, 429)),
        ]
        body, expected = self._chance.choice(cases)
        answer = await self._answer(body)
        fault = Fault("bad", None, "error", (*expected, 429))
        judged(fault, model, answer, streamed=False)
        self.seen[f"refused {answer.status}"] += 1
        if self._chance.random() < 0.3:
            answer = await self._answer(self._body(model), key="wrong")
            judged(Fault("key", None, "error", (401,)), model, answer, streamed=False)
            answer = await self._answer(self._body("cached"), key=_FEW)
            judged(_ANY, model, answer, streamed=False)

    def _body(self, model: str, **more: Any) -> dict[str, Any]:
        # Few seeds: some have been asked for before.
        return {
            "model": model,
            "messages": [{"role": "user", "content": _QUESTION}],
            "seed": self._chance.randrange(20),
            **more,
        }

    async def _answer(self, body: Any, key: str = KEY) -> Answer:
        parser = Parser()
        reader, writer = await self._send(body, key)
        try:
            while not parser.complete and (data := await reader.read(1 << 16)):
                parser.feed(data)
        finally:
            writer.transport.abort()
        if not parser.complete:
            raise Violation("the gateway closed the connection in the middle of an answer")
        return parser.answer

    async def _send(
        self, body: Any, key: str = KEY
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (key.encode(), len(data), data)
        )
        return reader, writer


def _code(answer: Answer) -> str:
    body = answer.json if answer.status != 200 else json.loads(answer.events()[-1])
    return str(body["error"]["code"])
