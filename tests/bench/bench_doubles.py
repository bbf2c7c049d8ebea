"""Cases, judges and backends for the tests of the benchmark."""

from __future__ import annotations

import asyncio
import hashlib
import json

import msgspec

from llmgate.backends.scripted import ScriptedBackend
from llmgate.bench.cases import Case, Expect, ExpectedCall, Turn
from llmgate.bench.journal import Done, Journal, Run
from llmgate.bench.runner import Runner
from llmgate.types import Caps, Delta, Message, Tool, Usage

TOOL = Tool(
    "get_weather",
    "The weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CALL = '{"function": "get_weather", "params": {"city": "%s"}}'


class Verdict(msgspec.Struct, frozen=True):
    outcome: str
    problems: tuple[str, ...] = ()


def judge(case, calls, text, error=""):
    """Right are the calls of the expected functions with the expected arguments."""
    said = [(call.name, json.loads(call.arguments)) for call in calls]
    wanted = [(c.name, {k: v[0] for k, v in c.arguments.items()}) for c in case.expect.calls]
    if said == wanted:
        return Verdict("right")
    return Verdict("wrong_arguments" if said else "missing_call", (f"{said} is not {wanted}",))


def weather(city, *, id_=None, suite="s", turns=()):
    return Case(
        id_ or city,
        (Message("user", f"The weather in {city}?"),),
        Expect("calls", (ExpectedCall("get_weather", {"city": [city]}),)),
        suite=suite,
        tools=(TOOL,),
        turns=turns,
    )


def asks_on(city, expect, *results, messages=()):
    return weather(city, turns=(Turn(expect, results, messages),))


class Oracle(ScriptedBackend):
    """Calls for the city that was asked for last; `wrong` says for which cities it does not."""

    def __init__(self, wrong=lambda city: False, caps=None, seconds=0.0):
        super().__init__(self._answer, caps=caps)
        self._wrong = wrong
        self._seconds = seconds
        self.running = self.most = 0

    async def complete(self, prompt):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self._seconds)
            async for delta in super().complete(prompt):
                yield delta
        finally:
            self.running -= 1

    def _answer(self, prompt):
        if isinstance(prompt, str):
            text = prompt
        else:
            text = prompt.text if hasattr(prompt, "text") else prompt.messages[-1].content
        city = text.rpartition("The weather in ")[2].partition("?")[0]
        arguments = CALL % ("Nowhere" if self._wrong(city) else city)
        if self._caps.chat:
            return "Who knows."
        return [arguments[len(getattr(prompt, "prefill", "")) :]]


def by_chance(city):
    """Whether an oracle is wrong about a city: always the same of a city, of about every third."""
    return hashlib.sha256(city.encode()).digest()[0] % 3 == 0


def opened_by(backend):
    return lambda model, settings: backend


async def run(folder, groups, cases, plan, backend, *, stop_after=None, **more):
    """Run a matrix with one backend; the runner, for what it knows at the end."""
    done = Done(cases, plan.samples)
    with Journal.open(folder, Run.of(plan, cases, groups), done) as journal:
        runner = Runner(
            groups, cases, plan, journal, judge, opened=opened_by(backend), waits=(0, 0), **more
        )
        if stop_after is not None:
            add = journal.add

            async def counted(told):
                await add(told)
                if runner.progress.asked + 1 >= stop_after:
                    runner.stop()

            journal.add = counted
        await runner.run()
    return runner


def timeless(result):
    """A result without what differs from run to run."""
    return msgspec.structs.replace(result, first_token=None, seconds=0.0)


GRAMMARS = Caps(grammar=True, tokenize=True, triggers=True)
NOTHING = Caps(tokenize=True)
FINISH = Delta(finish="stop", usage=Usage(3, 2, 1))
