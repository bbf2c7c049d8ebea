"""What a model server can do, tried on it: its constraint, a tool call, a stream."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec

from llmgate.config import ModelSettings, Settings
from llmgate.discovery.advice import advice
from llmgate.discovery.identity import Identity
from llmgate.errors import LlmgateError
from llmgate.gateway import Gateway
from llmgate.types import Caps, Message, Note, Request, Sampling, Tool, ToolChoice

_TOOL: Final = Tool(
    "get_weather",
    "Tells the weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 40}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
_QUESTION: Final = (Message("user", "What is the weather in Paris?"),)
_NAME: Final = "examined"


class Check(msgspec.Struct, frozen=True):
    """One thing that was tried: `said` is what came of it, in a few words."""

    passed: bool
    said: str
    seconds: float | None = None


class Report(msgspec.Struct, frozen=True):
    """What is known of a server and its model; `advice` is what to change there or here."""

    url: str
    backend: str
    kind: str
    version: str = ""
    model: str = ""
    others: tuple[str, ...] = ()
    caps: Caps = Caps()
    style: str = ""
    error: str = ""
    constraint: Check | None = None
    tool_call: Check | None = None
    stream: Check | None = None
    advice: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a model answers there."""
        return not self.error


async def examine(
    settings: ModelSettings, identity: Identity | None = None, *, seconds: float = 60.0
) -> Report:
    """Try what the server of `settings` can do; each answer has so many seconds.

    With 0 seconds nothing is asked of the model itself. Never raises for what the server does.
    """
    found = identity or Identity(settings.backend, settings.backend)
    report = Report(settings.url or "", settings.backend, found.kind, found.version)
    if found.loading:
        report = msgspec.structs.replace(report, error="its model is still being loaded")
        return msgspec.structs.replace(report, advice=advice(report))
    try:
        report = await _known(report, settings, seconds)
    except LlmgateError as error:
        report = msgspec.structs.replace(report, error=str(error))
    return msgspec.structs.replace(report, advice=advice(report))


async def _known(report: Report, settings: ModelSettings, seconds: float) -> Report:
    """The report with all that could be found out. Raises what the server fails with."""
    one = msgspec.structs.replace(settings, retries=0)
    async with Gateway.open(Settings(models={_NAME: one})) as gateway:
        backend = gateway.route(_NAME).backend
        names = await backend.models()
    model = settings.model or (names[0] if names else "")
    one = msgspec.structs.replace(one, model=model or None)
    async with Gateway.open(Settings(models={_NAME: one})) as gateway:
        route = gateway.route(_NAME)
        claimed = route.backend.caps
        await route.backend.start()
        await route.backend.health()
        caps = route.backend.caps
        report = msgspec.structs.replace(
            report,
            model=model,
            others=tuple(name for name in names if name != model),
            caps=caps,
            style="" if caps.chat else route.wrapper.of(caps).style.name,
            constraint=_constraint(claimed, caps),
        )
        if not seconds:
            return report
        return msgspec.structs.replace(
            report,
            tool_call=await _tool_call(gateway, seconds),
            stream=await _stream(gateway, seconds),
        )


def _constraint(claimed: Caps, caps: Caps) -> Check:
    """What answers are held to, once that was tried."""
    if caps.grammar:
        return Check(True, "grammars")
    if caps.schema:
        return Check(True, "JSON Schemas, for answers that are JSON as a whole")
    if claimed.grammar or claimed.schema:
        return Check(False, "it takes constraints and does not keep to them")
    return Check(False, "nothing: answers are checked, and asked for once more")


async def _tool_call(gateway: Gateway, seconds: float) -> Check:
    request = Request(
        model=_NAME,
        messages=_QUESTION,
        tools=(_TOOL,),
        tool_choice=ToolChoice("required"),
        sampling=Sampling(temperature=0.0, max_tokens=512),
    )
    begin = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            answer = await gateway.complete(request)
    except TimeoutError:
        return Check(False, f"none within {seconds:g} seconds")
    except LlmgateError as error:
        return Check(False, f"none: {error}", time.monotonic() - begin)
    call = answer.message.tool_calls[0]
    said = f"{call.name}({call.arguments})"
    if told := _told(answer.notes):
        said += f"; {told}"
    return Check(True, said, time.monotonic() - begin)


def _told(notes: tuple[Note, ...]) -> str:
    return ", ".join(dict.fromkeys(note.code for note in notes))


async def _stream(gateway: Gateway, seconds: float) -> Check:
    request = Request(
        model=_NAME,
        messages=(Message("user", "Count from one to ten, in words."),),
        sampling=Sampling(temperature=0.0, max_tokens=48),
    )
    begin, first, pieces = time.monotonic(), None, 0
    try:
        async with asyncio.timeout(seconds):
            async for delta in gateway.stream(request):
                if delta.text or delta.reasoning:
                    first = first or time.monotonic() - begin
                    pieces += 1
    except TimeoutError:
        return Check(False, f"not whole within {seconds:g} seconds", first)
    except LlmgateError as error:
        return Check(False, f"failed: {error}", first)
    if pieces == 1:
        return Check(False, "the whole answer came in one piece", first)
    return Check(pieces > 1, f"{pieces} pieces" if pieces else "an answer without text", first)
