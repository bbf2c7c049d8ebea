"""Calls as a template writes them, and whether a style reads them back."""

from __future__ import annotations

import json
import re

import msgspec

from llmgate.styles import REASONING, Style
from llmgate.types import ToolCall
from llmgate.wrappers.abilities import (
    FUNCTION,
    NUMBER,
    NUMBER_KEY,
    OTHER,
    OTHER_NUMBER,
    OTHER_VALUE,
    TEXT_KEY,
    VALUE,
    WORDS,
    Abilities,
    Prober,
    assistant,
    call_ids,
    conversation,
    tool,
    user,
)
from llmgate.wrappers.openers import Openers
from llmgate.wrappers.scanner import StyleScanner, Unreadable

SCHEMAS = {name: tool(name)["function"]["parameters"] for name in (FUNCTION, OTHER)}


class Sample(msgspec.Struct, frozen=True):
    """Calls, and the text that a template makes of them; `begun` of it stands in prompts."""

    calls: tuple[ToolCall, ...]
    text: str
    begun: int = 0

    @property
    def answer(self) -> Sample:
        """The same without what a prompt begins of it."""
        return Sample(self.calls, self.text[self.begun :])


def samples_of(prober: Prober, able: Abilities) -> list[Sample]:
    """One call, and then two in one turn if the template shows that."""
    found = []
    prompt = prober.render([user()], {"add_generation_prompt": True}, with_tools=True) or ""
    words = prober.render([user(), assistant()], with_tools=True)
    for names in ([FUNCTION], [FUNCTION, OTHER])[: 2 if able.parallel else 1]:
        text = prober.render(conversation(able, names, results=False), with_tools=True)
        if text is None or words is None:
            continue
        calls = tuple(
            ToolCall(given, name, json.dumps({TEXT_KEY: value, NUMBER_KEY: number}))
            for given, name, value, number in zip(
                call_ids(able, names), names, (VALUE, OTHER_VALUE), (NUMBER, OTHER_NUMBER),
                strict=False,
            )
        )  # fmt: skip
        start, end = _apart(text, words)
        begun = in_common(text, prompt) - start
        opened = text.rfind("<", start, start + max(begun, 0))
        if opened >= 0 and ">" not in text[opened : start + begun]:
            begun = opened - start
        found.append(Sample(calls, text[start:end], max(begun, 0)))
    return found


def _apart(text: str, words: str) -> tuple[int, int]:
    """Where a rendering has what another one has only words for, with whole marks around it."""
    start = in_common(text, words)
    end = in_common(text[::-1], words[::-1])
    end = len(text) - min(end, len(text) - start)
    # A mark of which both begin alike is no part of what they have in common.
    for opener, closer in ("<>", "[]"):
        begun = text.rfind(opener, 0, start)
        if begun >= 0 and closer not in text[begun:start] and "\n" not in text[begun:start]:
            start = begun
        ended = text.find(closer, end)
        if ended >= 0 and opener not in text[end:ended] and opener in text[start:end]:
            last = text.rfind(opener, start, end)
            if closer not in text[last:end] and "\n" not in text[end:ended]:
                end = ended + 1
    # So is one of signs alone, at the beginning of a line.
    alone = re.search(r"(?:\A|\s)([^\w\s]+)\Z", text[:start])
    start = alone.start(1) if alone else start
    # What ends the turn is no part of the calls, even if nothing more is in common.
    ending = re.match(r"\s*(<[^<>\s]+>)", words.rpartition(WORDS)[2])
    if ending and text.count(ending[1], start, end) == 1:
        last = text.index(ending[1], start)
        end = last if last > text.rfind(TEXT_KEY, start, end) else end
    return start, end


def read(style: Style, sample: Sample) -> int | None:
    """How much of a sample's text is left over when a style reads exactly its calls from it.

    None if it does not.
    """
    text = sample.text + "\n"
    openers = Openers(style, [call.name for call in sample.calls])
    if style.bare:
        before, text = _before_bare(style, text)
        if before:
            return None
    else:
        at, end = openers.find(text, "")
        if end is None:
            return None
        before, text = text[:at], text[at + end :]
    for number, call in enumerate(sample.calls):
        text = text.lstrip()
        if number:
            following = openers.next(text) if text else None
            if not isinstance(following, int):
                return None
            text = text[following:]
        scanner = StyleScanner(style, SCHEMAS)
        try:
            events = list(scanner.feed(text))
        except Unreadable:
            return None
        name = "".join(event.text for event in events if event.kind == "name")
        arguments = "".join(event.text for event in events if event.kind == "arguments")
        if name != call.name or not (scanner.done or scanner.whole):
            return None
        if json.loads(arguments) != json.loads(call.arguments):
            return None
        text = scanner.rest
    over = openers.over(text.lstrip())
    text = text.lstrip()[over:] if isinstance(over, int) else text
    left = len(_without(style, before)) + len(_without(style, text))
    return None if style.bare and left else left


def _before_bare(style: Style, text: str) -> tuple[str, str]:
    """What stands before a bare call, without the marks that may, and the call with the rest."""
    at = text.find("{")
    before = text[: max(at, 0)].strip()
    for mark in style.opens:
        before = before.removesuffix(mark.strip())
    return before, text[max(at, 0) :]


def _without(style: Style, text: str) -> str:
    """A text without white space and the marks of a style that say nothing."""
    frames = [mark for pair in (*style.frames, *style.reasoning, *REASONING) for mark in pair]
    for mark in (*style.skip, *frames):
        text = text.replace(mark.strip(), "") if mark.strip() else text
    return squeezed(text)


def in_common(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)
