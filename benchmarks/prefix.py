"""How much of an agent's prompts a server has in its cache: a session of 60 turns, twice.

    python -m benchmarks.prefix [--turns 60] [--window 18000] [--write] [--verbose]

A real agent talks to a real llama-server over HTTP, with tools, edits of its core memory and one
compaction; once in the layout `cached`, once in MemGPT's old one. The numbers are the server's
own: `cache_n` and `prompt_n` of its timings for each prompt.

What the model answers is decided by a script, so it does not matter which model it is: one layer
with random weights and the shipped model's tokenizer, which reads quickly. It is made to write the
scripted call by reading it: the server has the call's tokens behind the prompt then, as it has
them behind the prompt of a model that writes its calls in the layout that its history shows, in
the tokens that its tokenizer gives. With `--write` a grammar makes it sample the call instead; a
model with random weights chooses odd tokens for the same text, and the next prompt, which has the
usual ones, finds nothing of the answer in the cache: the worst case.

`cached_share` is that of all prompt tokens outside the compaction (its summary, and the first
prompt after it), the cold start included. A turn's new tokens are those that its prompts add to
the prompt before and to what the model wrote to that. Prints JSON last; exits with 1 where the
layout `cached` has less than 97 % in the cache, or a turn reads more than 1.2 times its new tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.models import random_model
from benchmarks.prefix_script import SUMMARY, WARNED, Answer, exchanges
from benchmarks.servers import llama_server
from llmgate import storage
from llmgate.agent import Agent, Home, UserMessage
from llmgate.agent.explaining import explain
from llmgate.backends import Backend
from llmgate.config import AgentSettings, ModelSettings, Settings, StorageSettings
from llmgate.gateway import Gateway, Route
from llmgate.types import Caps, Delta, Embeddings, Prompt, Request, Usage
from llmgate.wrappers import Wrapper
from llmgate.wrappers.writing import write_calls

Layout = Literal["cached", "memgpt"]
LEAST, MOST = 0.97, 1.2


class Asked(msgspec.Struct):
    """One prompt that the server was sent, and what it counted."""

    turn: int
    text: str
    summary: bool
    usage: Usage = Usage()
    compacted: bool = False


class Scripted:
    """A backend whose server can write nothing but what the script says."""

    def __init__(self, backend: Backend, wrapper: Wrapper, *, write: bool) -> None:
        self._backend = backend
        self._write = write
        self._wrapper = wrapper
        self.answers: deque[Answer] = deque()
        self.asked: list[Asked] = []
        self.turn = 0

    @property
    def caps(self) -> Caps:
        return self._backend.caps

    async def start(self) -> None:
        await self._backend.start()

    async def complete(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        # A summary is the only thing that is asked for in words.
        asked = Asked(self.turn, prompt.text, prompt.grammar is None)
        self.asked.append(asked)
        if asked.summary:
            text = SUMMARY
        else:
            text = self._written(self.answers.popleft() if self.answers else WARNED)
        if self._write:
            held = msgspec.structs.replace(
                prompt, grammar=f"root ::= {_literal(text)}", triggers=(), prefill=""
            )
            asked.usage = await self._sent(held)
        else:
            read = await self._sent(_only_read(prompt, prompt.text))
            both = await self._sent(_only_read(prompt, prompt.text + text))
            asked.usage = Usage(read.prompt, both.prompt - read.prompt, read.cached)
        yield Delta(text)
        yield Delta(finish="stop", usage=asked.usage)

    async def _sent(self, prompt: Prompt) -> Usage:
        """What the server counted."""
        usage = None
        async with aclosing(self._backend.complete(prompt)) as deltas:
            async for delta in deltas:
                usage = delta.usage or usage
        if usage is None or usage.cached is None:
            raise RuntimeError("the server told no timings")
        return usage

    def _written(self, answer: Answer) -> str:
        options = self._wrapper.options
        return write_calls(
            self._wrapper.style,
            [answer.call],
            {},
            thoughts=answer.thoughts,
            thoughts_key=self._wrapper.spec.thoughts_key,
            place=options.inner_thoughts,
            indent=options.indent,
        )

    def chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        return self._backend.chat(request)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return await self._backend.embed(texts)

    async def models(self) -> tuple[str, ...]:
        return await self._backend.models()

    async def count(self, text: str) -> int:
        return await self._backend.count(text)

    async def health(self) -> None:
        await self._backend.health()

    async def aclose(self) -> None:
        await self._backend.aclose()


class Figures(msgspec.Struct, frozen=True):
    """What one session cost the server, in tokens; `worst` is the most that a turn read for each
    new token."""

    turns: int
    prompts: int
    tokens: int
    read: int
    cached_share: float
    worst: float
    compactions: int
    seconds: float


async def session(
    url: str, layout: Layout, options: argparse.Namespace
) -> tuple[Figures, list[Asked]]:
    settings = Settings(
        models={"m": ModelSettings(backend="llamacpp", url=url, wrapper="chatml")},
        storage=StorageSettings("memory:", "memory:"),
        agent=AgentSettings(layout=layout, window=options.window, reply_tokens=256),
    )
    wrapper = Wrapper.load("chatml", {"inner_thoughts": "inside", "indent": 0})
    async with Gateway.open(settings) as opened:
        backend = Scripted(opened.route("m").backend, wrapper, write=options.write)
        gateway = Gateway({"m": Route(backend, wrapper)})
        async with (
            await storage.open("memory:") as records,
            await Home.open(settings, gateway=gateway, records=records) as home,
        ):
            start = time.perf_counter()
            agent = await Agent.create(home, "ada")
            for backend.turn, exchange in enumerate(exchanges(options.turns), 1):
                backend.answers.extend(exchange.answers)
                event = None if exchange.said is None else UserMessage(exchange.said)
                async with aclosing(agent.run(event)) as steps:
                    async for step in steps:
                        if step.ok is False:
                            raise RuntimeError(f"turn {backend.turn}: {step.result}")
                if backend.answers:
                    raise RuntimeError(f"turn {backend.turn}: the agent stopped early")
            seconds = time.perf_counter() - start
    return figures_of(backend.asked, options.turns, seconds, verbose=options.verbose), backend.asked


def figures_of(asked: list[Asked], turns: int, seconds: float, *, verbose: bool) -> Figures:
    """The figures of all prompts but those of a compaction."""
    tokens = read = compactions = 0
    worst = 0.0
    before: Asked | None = None
    for one in asked:
        cached = one.usage.cached or 0
        own = one.usage.prompt - cached
        if one.summary:
            compactions += 1
            before = None
            continue
        one.compacted = before is None and compactions > 0
        ratio = 0.0
        if before is not None:
            new = one.usage.prompt - before.usage.prompt - before.usage.completion
            ratio = own / max(new, 1)
            worst = max(worst, ratio)
        if not one.compacted:
            tokens += one.usage.prompt
            read += own
        if verbose:
            print(
                f"turn {one.turn:3} prompt {one.usage.prompt:6} cached {cached:6} read {own:5}"
                f" x{ratio:5.2f}{' after compaction' if one.compacted else ''}"
            )
            if before is not None and ratio > MOST:
                print("    " + "\n    ".join(explain(before.text, one.text).lines()))
        before = one
    prompts = sum(not one.summary for one in asked)
    share = 1 - read / tokens if tokens else 0.0
    return Figures(
        turns, prompts, tokens, read, round(share, 4), round(worst, 2), compactions, seconds
    )


def _only_read(prompt: Prompt, text: str) -> Prompt:
    """A prompt that the server reads, and answers nothing to."""
    sampling = msgspec.structs.replace(prompt.sampling, max_tokens=0)
    return Prompt(text, sampling=sampling, slot=prompt.slot)


def _literal(text: str) -> str:
    """A GBNF literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def plot(asked: list[Asked], name: str) -> None:
    """What each turn made the server read, as bars."""
    turns: dict[int, list[int]] = {}
    for one in asked:
        counted = turns.setdefault(one.turn, [0, 0])
        counted[0] += one.usage.prompt - (one.usage.cached or 0)
        counted[1] += one.usage.prompt
    print(f"{name}: tokens read in each turn, of those in its prompts")
    for turn, (own, total) in turns.items():
        if turn % 4 == 1 or own > total // 3:
            print(f"  {turn:3} {'#' * min(60, -(-own // 200)):60} {own:6} of {total}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--window", type=int, default=18_000)
    parser.add_argument("--write", action="store_true", help="sample the answers")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(
            Path(folder) / "model.gguf",
            seed=1,
            layers=1,
            heads=1,
            metadata={"llama.context_length": options.window},
        )
        for layout in ("cached", "memgpt"):
            # A server of its own for each: it keeps prompts beyond those in its context.
            with llama_server(model, options.window) as (url, _):
                found[layout], asked = asyncio.run(session(url, layout, options))
            plot(asked, layout)
    new, old = found["cached"], found["memgpt"]
    print(
        json.dumps(
            {
                "turns": options.turns,
                "cached_share": new.cached_share,
                "old_layout_cached_share": old.cached_share,
                "most_read_per_new_token": new.worst,
                "old_layout_most_read_per_new_token": old.worst,
                "prompts": new.prompts,
                "prompt_tokens": new.tokens,
                "read_tokens": new.read,
                "old_layout_prompt_tokens": old.tokens,
                "old_layout_read_tokens": old.read,
                "compactions": new.compactions,
                "old_layout_compactions": old.compactions,
                "seconds": round(new.seconds, 1),
                "old_layout_seconds": round(old.seconds, 1),
            }
        )
    )
    if new.cached_share < LEAST or new.worst > MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
