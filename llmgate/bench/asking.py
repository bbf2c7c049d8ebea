"""Asks a case in a cell, through the gateway as any client would, and says what came of it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from llmgate.backends import Backend
from llmgate.bench.cases import Case, Turn
from llmgate.bench.probe import Probe
from llmgate.bench.result import Call, CellKey, Outcome, Result
from llmgate.errors import BackendError, LlmgateError, OutputError
from llmgate.gateway import Gateway, Route
from llmgate.types import Completion, Message, Note, Prompt, Request, Sampling, ToolCall, Usage
from llmgate.wrappers import ModelWrapper, Wrapper

# Notes that say that what the model wrote had to be mended.
_REPAIRS = ("repaired", "coerced", "dropped", "closed")
_NAME = "cell"
# What a tool returns where the case does not say.
_RETURNED = "OK"


class Plan(msgspec.Struct, frozen=True):
    """How cases are asked: each `samples` times, with seeds that come from `seed`.

    An answer has at most `max_tokens`. `temperature` goes over the model's own. With
    `shared_prefixes` nothing keeps prompts from beginning alike, so that caches count.
    """

    seed: int = 1
    samples: int = 1
    max_tokens: int = 256
    temperature: float | None = None
    shared_prefixes: bool = False


class Verdict(Protocol):
    """What the judge says of an answer."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def problems(self) -> Sequence[str]: ...


class Judge(Protocol):
    """Compares an answer with `case.expect`."""

    def __call__(
        self, case: Case, calls: Sequence[Call], text: str, error: str = "", /
    ) -> Verdict: ...


class Told(msgspec.Struct, frozen=True):
    """A result, and the grammar or schema behind its hash."""

    result: Result
    grammar: str = ""


class _Said(msgspec.Struct):
    """What was seen of the answers to one case so far."""

    prompt: str = ""
    grammar: str = ""
    output: str = ""
    text: str = ""
    calls: tuple[Call, ...] = ()
    notes: tuple[Note, ...] = ()
    usage: Usage = Usage(cached=0)
    seconds: float = 0.0
    first_token: float | None = None
    retries: int = 0

    def observe(self, prompt: Prompt, text: str) -> None:
        """Keep what a generation read and wrote."""
        self.prompt, self.output = prompt.text, text
        self.grammar = prompt.grammar or ""
        if prompt.grammar is None and prompt.schema is not None:
            self.grammar = msgspec.json.encode(prompt.schema).decode()


class Asker:
    """Asks cases in one cell, one at a time. Nobody tries again what the backend failed at.

    An answer that the gateway refuses is asked for once more, as always: `retries` counts it.
    """

    def __init__(
        self,
        cell: CellKey,
        backend: Backend,
        wrapper: Wrapper | ModelWrapper,
        sampling: Sampling,
        plan: Plan,
        judge: Judge,
    ) -> None:
        self.cell = cell
        self._probe = Probe(backend, cell.constraint)  # type: ignore[arg-type]  # a key's text
        self._route = Route(self._probe, wrapper, sampling)
        self._gateway = Gateway({_NAME: self._route})
        self._plan = plan
        self._judge = judge

    async def ask(self, case: Case, sample: int, retries: int = 0) -> Told:
        """What came of it. `retries` is how often it was asked before, in vain.

        Raises the `BackendError`s that may pass; `failed` makes a result of one that does not.
        """
        said = _Said(retries=retries)
        messages = self._opening(case, sample)
        for number, expect in enumerate((case.expect, *(turn.expect for turn in case.turns))):
            part = msgspec.structs.replace(case, expect=expect, turns=())
            try:
                answer = await self._answer(said, part, messages, sample)
            except OutputError as error:
                return self._told(case, sample, said, "invalid", (_at(number, str(error)),), error)
            except BackendError as error:
                # What was held against the backend would refuse the cases to come.
                self._gateway = Gateway({_NAME: self._route})
                if error.retryable:
                    raise
                return self._failed(case, sample, error, said)
            except LlmgateError as error:
                return self._failed(case, sample, error, said)
            verdict = self._judge(part, said.calls, said.text, "")
            if verdict.outcome != "right" or number == len(case.turns):
                break
            messages += _going_on(answer, case.turns[number])
        problems = tuple(_at(number, problem) for problem in verdict.problems)
        return self._told(case, sample, said, verdict.outcome, problems)

    def failed(self, case: Case, sample: int, error: LlmgateError, retries: int) -> Told:
        """The result of a case that there is no answer to, asked so often again."""
        return self._failed(case, sample, error, _Said(retries=retries))

    async def warm(self, case: Case) -> None:
        """Have an answer begin that nobody counts, so that the first one counted waits for none.

        What fails is no matter: it will be said of each case.
        """
        request = self._request(case, self._opening(case, -1), 0)
        sampling = msgspec.structs.replace(request.sampling, max_tokens=1)
        with contextlib.suppress(LlmgateError):
            await self._gateway.complete(msgspec.structs.replace(request, sampling=sampling))
        self._gateway = Gateway({_NAME: self._route})

    async def _answer(
        self, said: _Said, case: Case, messages: list[Message], sample: int
    ) -> Message:
        """The answer to the messages so far, noted down whether or not there is one."""
        request = self._request(case, messages, sample)
        probe, begun = self._probe, time.perf_counter()
        probe.reset()
        said.calls, said.text = (), ""
        try:
            completion = await self._gateway.complete(request, said.observe)
        finally:
            said.seconds += time.perf_counter() - begun
            if said.first_token is None and probe.first_at is not None:
                said.first_token = probe.first_at - begun
            said.usage = said.usage.plus(probe.usage)
            said.retries += max(0, probe.generations - 1)
        said.notes += completion.notes
        message = _named(completion, len(messages))
        said.calls = tuple(Call(call.name, call.arguments) for call in message.tool_calls)
        said.text = message.content or ""
        return message

    def _opening(self, case: Case, sample: int) -> list[Message]:
        messages = list(case.messages)
        if self._plan.shared_prefixes:
            return messages
        line = f"Conversation {_number(self._plan.seed, *self.cell, case, sample):08x}."
        if messages[0].role == "system":
            text = f"{line}\n\n{messages[0].content or ''}"
            messages[0] = msgspec.structs.replace(messages[0], content=text)
        else:
            messages.insert(0, Message("system", line))
        return messages

    def _request(self, case: Case, messages: Sequence[Message], sample: int) -> Request:
        plan = self._plan
        sampling = Sampling(
            max_tokens=plan.max_tokens,
            temperature=plan.temperature,
            # The same in all cells, and another for each case.
            seed=_number(plan.seed, case, sample) >> 1,
        )
        return Request(
            model=_NAME,
            messages=tuple(messages),
            tools=case.tools,
            tool_choice=case.choice,
            parallel=True if case.tools else None,
            schema=case.expect.schema if case.expect.kind == "json" else None,
            sampling=sampling,
        )

    def _failed(self, case: Case, sample: int, error: LlmgateError, said: _Said) -> Told:
        return self._told(case, sample, said, "error", (str(error),), error)

    def _told(
        self,
        case: Case,
        sample: int,
        said: _Said,
        outcome: Outcome,
        problems: tuple[str, ...],
        error: LlmgateError | None = None,
    ) -> Told:
        codes = tuple(note.code for note in said.notes)
        model, backend, wrapper, options, constraint = self.cell
        result = Result(
            model=model,
            backend=backend,
            wrapper=wrapper,
            options=options,
            constraint=constraint,  # type: ignore[arg-type]  # a key's text
            suite=case.suite,
            case=case.id,
            sample=sample,
            seed=_number(self._plan.seed, case, sample) >> 1,
            expect=case.expect.kind,
            outcome=outcome,
            problems=problems,
            calls=said.calls,
            text=said.text,
            prompt=said.prompt,
            grammar=hashlib.sha256(said.grammar.encode()).hexdigest() if said.grammar else "",
            output=said.output,
            notes=codes,
            repairs=sum(code in _REPAIRS for code in codes),
            retries=said.retries,
            tokens_in=said.usage.prompt,
            tokens_out=said.usage.completion,
            cached=said.usage.cached,
            first_token=said.first_token,
            seconds=said.seconds,
            error="" if error is None else f"{type(error).__name__}: {error}",
        )
        return Told(result, said.grammar)


def _number(*parts: object) -> int:
    """A number of 32 bits that these parts always give."""
    names = [f"{p.suite}/{p.id}" if isinstance(p, Case) else str(p) for p in parts]
    return int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:4])


def _named(completion: Completion, number: int) -> Message:
    """The answer, its calls named by their place: what is random would be in the next prompt."""
    calls = tuple(
        ToolCall(f"call_{number}_{index}", call.name, call.arguments)
        for index, call in enumerate(completion.message.tool_calls)
    )
    return msgspec.structs.replace(completion.message, tool_calls=calls)


def _going_on(answer: Message, turn: Turn) -> list[Message]:
    """The messages between an answer and the next one: what its calls return, and more."""
    returned = [
        Message(
            "tool",
            turn.results[index] if index < len(turn.results) else _RETURNED,
            tool_call_id=call.id,
            name=call.name,
        )
        for index, call in enumerate(answer.tool_calls)
    ]
    return [answer, *returned, *turn.messages]


def _at(number: int, problem: str) -> str:
    """A problem, with its turn where it is not the first."""
    return f"turn {number + 1}: {problem}" if number else problem
