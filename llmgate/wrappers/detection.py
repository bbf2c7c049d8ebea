"""Which style of calls a chat template speaks: found by letting it write calls itself.

A conversation with calls of known names and values is rendered. The style that reads exactly
those calls back is the template's. Where a template shows no calls, what it tells the model about
them may say the style; where it lists no tools either, it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from llmgate.styles import REASONING, STYLES, Pair, Style
from llmgate.types import ChatTemplate, ToolCall
from llmgate.wrappers.abilities import (
    AGAIN,
    FUNCTION,
    THOUGHTS,
    WORDS,
    Abilities,
    Prober,
    assistant,
    conversation,
    user,
)
from llmgate.wrappers.chat_template import ChatTemplateRenderer
from llmgate.wrappers.derivation import derive
from llmgate.wrappers.samples import SCHEMAS, Sample, read, samples_of, squeezed
from llmgate.wrappers.writing import write_calls

# What the templates of some models say about tools, whose calls they can't show.
_TOLD = (("List of tools: [", "lfm2"),)
_TAG = re.compile(r"<[^<>\s/][^<>\s]*>|\[[A-Z_]+\]")

# A model's name is the last thing to go by. The first row that is found in it counts.
_NAMES = (
    ("dolphin", "dolphin", "json"),
    ("airoboros", "airoboros", "json"),
    ("zephyr", "zephyr", "json"),
    ("hermes", "chatml", "hermes"),
    ("qwen3-coder", "chatml", "qwen-coder"),
    ("qwen3.5", "chatml", "qwen-coder"),
    ("qwen", "chatml", "hermes"),
    ("qwq", "chatml", "hermes"),
    ("smollm", "chatml", "hermes"),
    ("lfm2", "chatml", "lfm2"),
    ("minicpm", "chatml", "json"),
    ("internlm", "chatml", "json"),
    ("yi-", "chatml", "json"),
    ("orca", "chatml", "json"),
    ("openchat", "chatml", "json"),
)


class Detected(msgspec.Struct, frozen=True):
    """What a template speaks: `style` is None where that is unknown; `why` says what was seen.

    `reasoning` are the marks around thoughts; `stop` what ends an answer, besides what the
    model's own end token does.
    """

    style: Style | None
    why: str
    reasoning: tuple[Pair, ...] = ()
    stop: tuple[str, ...] = ()


def detect(template: ChatTemplate, renderer: ChatTemplateRenderer | None = None) -> Detected:
    """The style of a model's template. Raises `ConfigError` for one that can't be used."""
    renderer = renderer or ChatTemplateRenderer(template)
    prober, able = renderer.prober, renderer.abilities
    style, why = _style(prober, able)
    reasoning = _reasoning(prober, able, style)
    return Detected(style, why, reasoning, _stop(prober, style, reasoning))


def guess(model: str) -> tuple[str, str]:
    """The wrapper for a model of which nothing is known but its name, and why.

    Only where there is no chat template to ask: names are no reliable sign.
    """
    for part, wrapper, style in _NAMES:
        if part in model.lower():
            calls = "" if style == "json" else f"; its calls may be in the style {style!r}"
            return wrapper, f"a guess by {part!r} in its name{calls}."
    return "chatml", f"nothing is known of {model!r}; ChatML is the most common format."


def _style(prober: Prober, able: Abilities) -> tuple[Style | None, str]:
    samples = samples_of(prober, able) if able.calls else []
    if samples:
        found = _reading(samples)
        if found is not None:
            return found, f"its calls are written in the style {found.name!r}."
        derived = derive(samples)
        if derived is not None:
            return derived, f"its calls are written in a way of their own: {_shown(derived)}."
        return None, f"its calls are written in an unknown way: {samples[0].text.strip()[:200]!r}."
    if told := _told(prober):
        return told, f"it shows no calls, but what it tells the model is the style {told.name!r}."
    if able.tools:
        return None, "it lists tools, but neither shows calls nor says how they are written."
    return None, "it knows no tools."


def _reading(samples: Sequence[Sample]) -> Style | None:
    """The style that reads the samples' calls, and best if it would have written them so too."""
    best: tuple[bool, bool, int] | None = None
    found = None
    for style in STYLES.values():
        left = read(style, samples[0])
        if left is None:
            continue
        both = len(samples) == 1 or read(style, samples[1]) is not None
        written = squeezed(write_calls(style, samples[0].calls, SCHEMAS))
        rank = (both, written in squeezed(samples[0].text), -left)
        if best is None or rank > best:
            best, found = rank, style
    return found


def _told(prober: Prober) -> Style | None:
    """The style of which a template's own words speak."""
    text = prober.text.replace("\\n", "\n")
    for style in sorted(STYLES.values(), key=lambda s: -sum(map(len, s.signs))):
        if style.signs and all(sign in text for sign in style.signs):
            return style
    best, found = 0, None
    for style in STYLES.values():
        marks = [style.open, style.begin, style.middle, *style.parameter, style.end, style.close]
        cores = [mark.strip() for mark in marks if re.search(r"\w", mark)]
        if style.head == "object":
            cores += [f'"{style.function_key}"', f'"{style.arguments_key}"']
        size = sum(map(len, cores))
        # Marks of ordinary letters alone are no sign.
        telling = any(re.search(r"[<\[|]", core) for core in cores)
        if telling and size > best and all(_stands_in(core, text) for core in cores):
            best, found = size, style
    if found is None:
        found = next((STYLES[name] for told, name in _TOLD if told in text), None)
    return found


def _stands_in(mark: str, text: str) -> bool:
    pieces = re.split(r"\s+|\{(?:n|id|string|type)\}", mark)
    return all(piece in text for piece in pieces)


def _reasoning(prober: Prober, able: Abilities, style: Style | None) -> tuple[Pair, ...]:
    """The marks around thoughts that the template writes, begins or speaks of."""
    own = style.reasoning if style is not None else ()
    pairs = tuple(dict.fromkeys((*own, *REASONING)))
    found: dict[Pair, None] = {}
    begun = (prober.render([user()], {"add_generation_prompt": True}) or "").rstrip()
    if able.reasoning:
        turns = [{**assistant(), able.reasoning: THOUGHTS}]
        turns.append({**conversation(able, [FUNCTION])[1], able.reasoning: THOUGHTS})
        for turn in turns:
            for messages in ([user(), turn], [user(), turn, user()]):
                shown = prober.render(messages, with_tools=True) or ""
                if THOUGHTS in shown:
                    before, _, after = shown.partition(THOUGHTS)
                    found |= dict.fromkeys(_around(before, after, pairs))
    for pair in pairs:
        opened = begun.endswith(pair[0].rstrip())
        passed = begun.endswith(pair[1].rstrip()) and pair[0].strip() in begun
        spoken = all(mark.strip() in prober.text for mark in pair)
        if opened or passed or (spoken and not own):
            found[pair] = None
    return tuple(found)


def _around(before: str, after: str, pairs: Sequence[Pair]) -> list[Pair]:
    """The marks that a text stands between: known ones, or tags that look like some."""
    before, after = before.rstrip(), after.lstrip()
    for open_, close in pairs:
        if before.endswith(open_.rstrip()) and after.startswith(close.strip()):
            return [(open_, close)]
    opened = list(_TAG.finditer(before))
    if opened and opened[-1].end() == len(before):
        mark = opened[-1][0]
        closing = f"{mark[0]}/{mark[1:]}"
        if after.startswith(closing):
            return [(mark, closing)]
    return []


def _stop(prober: Prober, style: Style | None, reasoning: Sequence[Pair]) -> tuple[str, ...]:
    """The mark that ends a turn, for models whose end token is not set as it should be."""
    shown = prober.render([user(), assistant(), user(AGAIN)]) or ""
    after = shown.rpartition(WORDS)[2].partition(AGAIN)[0].strip()
    mark = re.match(r"<[^<>\s]+>|\[[^\[\]\s]+\]", after)
    if mark is None:
        return ()
    used = [m for pair in reasoning for m in pair]
    if style is not None:
        used += [*style.skip, *(m for pair in style.frames for m in pair), style.open, style.begin]
        used += [style.end, style.close, style.between]
    return () if any(mark[0] in other for other in used) else (mark[0],)


def _shown(style: Style) -> str:
    """A style's marks, for a person."""
    call = ToolCall("id", "NAME", '{"key": "value"}')
    return repr(write_calls(style, [call], {}))
