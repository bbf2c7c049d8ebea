"""How long the prompt for a request is, before it is sent.

Counting costs time: a history of 100,000 tokens a tenth of a second. So what is certainly short
enough is not counted, and of a prompt that begins as an earlier one did only the rest is.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from llmgate.errors import BackendError, ConfigError
from llmgate.gateway.generation import Route
from llmgate.gateway.native import prepared
from llmgate.gateway.tokens import Count, at_most, count, estimate
from llmgate.types import Request
from llmgate.wrappers import ModelWrapper

# What a tokenizer may do differently where a text was cut into two, in tokens, and how often a
# count may be made of pieces before all of it is counted again.
_SEAM = 8
_SEAMS = 32
# A rest longer than this is counted at a cost that is worth a new beginning, in characters.
_REST = 4_000
# Where a text may be cut is looked for so many characters back.
_BACK = 2_000
# What a server writes around each message and each tool, in tokens, where nobody sees its prompt.
_AROUND = 12


class Measured(msgspec.Struct, frozen=True):
    """The length of a prompt in tokens.

    `exact` where the model's own tokenizer has counted all of it at once. Otherwise it is not
    less than that where the tokenizer has counted pieces, or only the bytes were looked at; where
    nobody can count (`estimated`) it is rather too many than too few. `context` is the model's,
    None where nobody knows it. `text` is the prompt, or what stands for it where the server makes
    the prompt itself.

    The first `anchor` characters of the text have `anchored` tokens, put together of pieces at
    `seams` places; `around` are those among `tokens` that the server adds where it makes the
    prompt itself.
    """

    tokens: int
    exact: bool
    estimated: bool
    context: int | None
    text: str
    anchor: int = 0
    anchored: int = 0
    seams: int = 0
    around: int = 0


async def ready(route: Route, context: int | None) -> None:
    """Start the backend where it has not said yet how long its prompts may be, and what they are.

    One that can't be started is left to the request itself, its retries and its other models.
    """
    caps = route.backend.caps
    untold = isinstance(route.wrapper, ModelWrapper) and caps.template is None and not caps.chat
    if untold or context is None:
        with suppress(BackendError):
            await route.backend.start()


async def measure(
    route: Route,
    request: Request,
    context: int | None,
    *,
    limit: int | None = None,
    known: Measured | None = None,
) -> Measured:
    """The length of the prompt that `route` would make of a request.

    Without a `limit` it is counted as exactly as possible; with one only as far as it takes to
    know whether it is within it. `known` is an earlier prompt of the same model.
    Raises `RequestError` for a request that can't be rendered.
    """
    text, around, native = _text(route, request)
    bound = at_most(text) + around
    if limit is not None and bound <= limit:
        return _uncounted(bound, context, text, known, around, estimated=native)
    if limit is not None and known is not None:
        found = await _in_pieces(route, text, known, context, around, native=native)
        if found is not None and _decides(found, limit):
            return found
    size = await _count(route, text, native=native)
    return Measured(
        size.tokens + around,
        exact=size.exact,
        estimated=not size.exact,
        context=context,
        text=text,
        anchor=len(text),
        anchored=size.tokens + around,
        around=around,
    )


def told(measured: Measured, tokens: int) -> Measured:
    """What is known of a prompt after its server has said how many tokens it has.

    Some servers count only what they had not cached: less than half of an estimate is not taken
    for the truth.
    """
    if not measured.estimated or tokens < measured.tokens // 2:
        return measured
    return msgspec.structs.replace(
        measured, tokens=tokens, anchor=len(measured.text), anchored=tokens, seams=0
    )


def _text(route: Route, request: Request) -> tuple[str, int, bool]:
    """The prompt, the tokens around what of it can be seen, and whether the server makes it."""
    caps = route.backend.caps
    if not caps.chat:
        try:
            return route.wrapper.of(caps).render(request, caps).text, 0, False
        except ConfigError:
            # A server that can't be asked for its template yet: other errors come again anyway.
            if caps.template is not None or not isinstance(route.wrapper, ModelWrapper):
                raise
    asked = prepared(request)
    lines = [msgspec.json.encode(asked.tools), *map(msgspec.json.encode, asked.messages)]
    around = _AROUND * (2 + len(asked.messages) + len(asked.tools))
    return b"".join(line + b"\n" for line in lines).decode(), around, True


async def _count(route: Route, text: str, *, native: bool) -> Count:
    """The tokens of a text; those of a stand-in are never exact."""
    if native and not route.backend.caps.tokenize:
        return Count(estimate(text), exact=False)
    size = await count(route.backend, text)
    return Count(size.tokens, exact=size.exact and not native)


async def _in_pieces(
    route: Route, text: str, known: Measured, context: int | None, around: int, *, native: bool
) -> Measured | None:
    """A count of what has come behind an earlier prompt; None where that is no help."""
    start, anchored, seams = known.anchor, known.anchored, known.seams
    shared = _shared(known.text, text)
    if not start or seams >= _SEAMS:
        return None
    if shared < start:
        cut = _cut(text, shared)
        if cut is None or start - cut > _BACK:
            return None
        # What the earlier prompt ended with (the beginning of the answer) is not there any more.
        ended = await _count(route, known.text[cut:start], native=native)
        start, anchored, seams = cut, anchored - ended.tokens + 1, seams + 1
    elif shared - start > _REST and (cut := _cut(text, shared)) is not None:
        more = await _count(route, text[start:cut], native=native)
        start, anchored, seams = cut, anchored + more.tokens, seams + 1
    if len(text) - start > len(text) // 2:
        return None
    rest = await _count(route, text[start:], native=native)
    anchored += around - known.around
    return Measured(
        anchored + rest.tokens + _SEAM * (seams + 1),
        exact=False,
        estimated=not rest.exact,
        context=context,
        text=text,
        anchor=start,
        anchored=anchored,
        seams=seams,
        around=around,
    )


def _decides(found: Measured, limit: int) -> bool:
    """Whether a count of pieces is enough to know that the prompt is within a limit or is not."""
    if found.estimated:
        return True
    return found.tokens <= limit or found.tokens - 2 * _SEAM * (found.seams + 1) > limit


def _uncounted(
    bound: int,
    context: int | None,
    text: str,
    known: Measured | None,
    around: int,
    *,
    estimated: bool,
) -> Measured:
    """A prompt that was not counted, with what is still known of its beginning."""
    found = Measured(bound, exact=False, estimated=estimated, context=context, text=text)
    if known is None or not text.startswith(known.text[: known.anchor]):
        return found
    return msgspec.structs.replace(
        found,
        anchor=known.anchor,
        anchored=known.anchored + around - known.around,
        seams=known.seams,
        around=around,
    )


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _cut(text: str, end: int) -> int | None:
    """The last place before `end` where tokenizers begin anew: behind a line, before a blank."""
    begin = max(0, end - _BACK)
    line = text.rfind("\n", begin, end) + 1
    blank = text.rfind(" ", begin, end)
    return max(line, blank) if max(line, blank) > 0 else None
