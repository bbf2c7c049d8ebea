"""What of a conversation fits the model's window, with room for the answer.

While everything fits, nothing is touched: each prompt is the one before it with more at its end.
When it does not, a large part leaves at once, so that this is rare: the oldest turns, up to one
that begins with an event, so that no call is parted from its result. A summary stands for them.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime

import msgspec

from llmgate.agent.cutting import Plan, calls_of, cuts_of, first_that, last_exchange
from llmgate.agent.prompt import Parts, request, sorted_tools
from llmgate.agent.shortening import fits_surely, within
from llmgate.agent.summarizing import Summarizer
from llmgate.config import AgentSettings
from llmgate.errors import ContextOverflow
from llmgate.gateway import Gateway
from llmgate.gateway.measuring import Measured, told
from llmgate.memory.conversation import Logged, Summary, Window
from llmgate.types import Message, Note, Request, Tool, Usage

# What is taken for the window where nobody knows it.
_UNKNOWN = 8192
# The answer gets this part of a small window, and the summary this one, at most so many tokens.
_ANSWER = 4
_SUMMARY, _LONGEST_SUMMARY = 8, 768
# A message longer than this part of the room for messages is shortened, and never below so much.
_MESSAGE, _SHORTEST = 2, 24
# What is left of the window after a backend has refused a prompt that should have fitted.
_LESS, _TIMES = 0.8, 4

Head = Callable[[], Awaitable[str]]


class Fitted(msgspec.Struct, frozen=True):
    """A request whose prompt leaves room for the answer.

    `tokens` of `window` are taken by its prompt: counted where `exact`, else at most so many (or
    about, where nobody can count). `reply` are kept for the answer. `pressure` says that it is
    time to warn the agent (once until the next compaction: `Window.alerted`). `compacted` is the
    new window where old turns had to leave it, `summary` what stands for them: both have to be
    stored before the request is sent.
    """

    request: Request
    tokens: int
    window: int
    reply: int
    exact: bool = True
    pressure: bool = False
    compacted: Window | None = None
    summary: Summary | None = None
    notes: tuple[Note, ...] = ()


class Fitter:
    """Keeps the prompts of one agent within the window of its model."""

    def __init__(
        self, gateway: Gateway, settings: AgentSettings, *, clock: Callable[[], datetime]
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._clock = clock
        self._model = ""
        self._context: int | None = None
        self._measured: Measured | None = None
        self._sent: Request | None = None
        self._refused = 0
        # How many tokens of a message are shown, if not as many as usual.
        self._shorter: int | None = None
        self._shown: dict[int, tuple[Message, Message]] = {}
        self._shown_for = 0
        self._said: set[str] = set()
        self._tools: tuple[tuple[Tool, ...], tuple[Tool, ...]] = ((), ())

    async def fit(
        self, parts: Parts, *, head: Head, compacting: Callable[[int], None] | None = None
    ) -> Fitted:
        """The request to send now; turns that do not fit any more are summarised.

        `head` makes the head of the current core memory, which is asked for at a compaction;
        `compacting` is told how many messages are about to be summarised.
        Raises `ContextOverflow` where the head and the tools leave no room for a conversation,
        and `BackendUnreachable` and its like where the model can't be asked for a summary now.
        """
        parts = await self._begin(parts)
        found = await self._tried(parts)
        if found is not None:
            return found
        return await self._compacted(parts, await head(), compacting, asked_for=False)

    async def compact(
        self, parts: Parts, *, head: Head, compacting: Callable[[int], None] | None = None
    ) -> Fitted | None:
        """The same, with a compaction that is not needed yet; None where there is nothing to."""
        parts = await self._begin(parts)
        if not cuts_of(parts.logged):
            return None
        return await self._compacted(parts, await head(), compacting, asked_for=True)

    def used(self, fitted: Fitted, usage: Usage) -> None:
        """Learn from what the backend counted: where nobody can count before, that is exact."""
        measured = self._measured
        if measured is not None and usage.prompt and fitted.request is self._sent:
            self._measured = told(measured, usage.prompt)

    def refused(self) -> bool:
        """Learn that a backend refused a prompt as too long; whether to fit again is worth it."""
        self._refused += 1
        return self._refused <= _TIMES

    @property
    def window(self) -> int:
        """The tokens that a prompt and its answer may have together."""
        known = self._context or self._settings.window or _UNKNOWN
        window = min(known, self._settings.window or known)
        return int(window * _LESS ** min(self._refused, _TIMES))

    @property
    def reply(self) -> int:
        """The tokens that are kept for the answer."""
        return max(1, min(self._settings.reply_tokens, self.window // _ANSWER))

    async def _begin(self, parts: Parts) -> Parts:
        """The parts with tools in order, once the model's window is known."""
        if parts.model != self._model:
            # With another model nothing is as it was.
            self._model, self._context, self._measured, self._refused = parts.model, None, None, 0
            self._shown_at(None)
        if self._tools[0] is not parts.tools:
            self._tools = parts.tools, sorted_tools(parts.tools)
        parts = msgspec.structs.replace(parts, tools=self._tools[1])
        if self._context is None:
            asked = self._request(self._stand_in(parts))
            self._context = (await self._gateway.measure(asked, sys.maxsize)).context
        return parts

    async def _tried(self, parts: Parts) -> Fitted | None:
        """All of it, None if it does not fit."""
        await self._shorten(parts.logged)
        asked, known = self._request(parts), self._measured
        hint = self._most if parts.window.alerted else min(self._most, self._threshold)
        measured = await self._gateway.measure(asked, hint, known=known)
        if measured.context is not None:
            self._context = measured.context  # the server may have been started anew
        if measured.tokens > self._most and not measured.exact:
            measured = await self._gateway.measure(asked, self._most, known=known)
        self._measured = measured
        if measured.tokens > self._most:
            return None
        pressed = measured.tokens > self._threshold and not parts.window.alerted
        return self._fitted(parts, asked, measured, pressure=pressed)

    async def _compacted(
        self,
        parts: Parts,
        head: str,
        compacting: Callable[[int], None] | None,
        *,
        asked_for: bool,
    ) -> Fitted:
        """The request after as much as it takes has left the window."""
        self._shown_at(None)
        window = msgspec.structs.replace(parts.window, head=head, alerted=False)
        parts = msgspec.structs.replace(parts, window=window)
        plan = await self._planned(parts, asked_for=asked_for)
        if plan.cut == 0:
            return await self._settled(parts, None)
        old = parts.logged[: plan.cut]
        if compacting is not None:
            compacting(len(old))
        before = parts.summary
        summarizer = Summarizer(
            self._gateway, parts.model, f"agent/{parts.agent}/summary", window=self.window
        )
        made = await summarizer.summarize(
            old, before.text if before else "", limit=plan.summary, answer=self.reply
        )
        summary = Summary(
            first=before.first if before else old[0].position,
            last=old[-1].position,
            text=made.text,
            how=made.how,
            at=self._clock(),
            hidden=len(old) + (before.hidden if before else 0),
        )
        kept = parts.logged[plan.cut :]
        window = msgspec.structs.replace(window, start=kept[0].position, summary=None)
        parts = msgspec.structs.replace(parts, window=window, logged=kept, summary=summary)
        found = await self._settled(parts, summarizer)
        return msgspec.structs.replace(found, notes=(made.note(len(old)), *found.notes))

    async def _planned(self, parts: Parts, *, asked_for: bool) -> Plan:
        """Which messages leave, and how long what stands for them may be."""
        cuts = cuts_of(parts.logged)
        stand_in = self._stand_in(parts)
        fixed = await self._size(stand_in)
        reserve = min(_LONGEST_SUMMARY, self.window // _SUMMARY)
        while reserve and fixed + reserve + self._most // _SUMMARY > self._most:
            reserve //= 2
        top = self._most
        if asked_for:
            top = min(top, await self._size(parts))
        target = fixed + (top - fixed) // 2 - reserve

        async def fits(cut: int, limit: int) -> bool:
            rest = msgspec.structs.replace(stand_in if cut else parts, logged=parts.logged[cut:])
            await self._shorten(rest.logged)
            return await self._size(rest, limit) <= limit

        cut = await first_that(cuts, lambda cut: fits(cut, target))
        last_said = last_exchange(parts.logged)
        if last_said in cuts and (cut is None or cut > last_said):
            # What a person said last stays, if the rest of the window is enough for it.
            cut = last_said if await fits(last_said, self._most - reserve) else cut
        if cut is None:
            cut = await first_that(
                [*cuts, *calls_of(parts.logged)], lambda cut: fits(cut, self._most - reserve)
            )
        if cut is None:
            # What does not fit even so is shortened: the last turn, or the last answer in it.
            self._shown_at(_SHORTEST)
            least = [*(cuts[-1:] or [0]), *calls_of(parts.logged)[-1:]]
            whole = await fits(least[0], self._most)
            cut = least[0] if whole else least[-1]
            self._shown_at(None)
        return Plan(cut, reserve)

    async def _settled(self, parts: Parts, summarizer: Summarizer | None) -> Fitted:
        """The request of the new window: with a shorter summary or shorter messages if need be."""
        while True:
            await self._shorten(parts.logged)
            asked = self._request(parts)
            measured = await self._gateway.measure(asked, self._most)
            if measured.tokens <= self._most:
                break
            summary = parts.summary
            if summarizer is not None and summary is not None and summary.text:
                limit = await self._count(summary.text) * 2 // 3
                text = await summarizer.shortened(summary.text, limit) if limit > _SHORTEST else ""
                summary = msgspec.structs.replace(summary, text=text)
                parts = msgspec.structs.replace(parts, summary=summary)
            elif self._message > _SHORTEST:
                self._shown_at(max(_SHORTEST, self._message // 2))
            else:
                raise await self._overflow(parts)
        self._measured = measured
        window = msgspec.structs.replace(parts.window, alerted=measured.tokens > self._threshold)
        found = self._fitted(parts, asked, measured)
        new = parts.summary if summarizer is not None else None
        return msgspec.structs.replace(found, compacted=window, summary=new)

    async def _overflow(self, parts: Parts) -> ContextOverflow:
        asked = self._request(parts)
        bare = msgspec.structs.replace(asked, messages=(asked.messages[0], Message("user", "")))
        taken = (await self._gateway.measure(bare)).tokens
        bare = msgspec.structs.replace(bare, tools=())
        without = (await self._gateway.measure(bare)).tokens
        return ContextOverflow(
            f"The agent {parts.agent!r} does not fit the window of {self.window} tokens: its "
            f"system prompt and core memory take {without}, its {len(parts.tools)} functions "
            f"{taken - without}, and {self.reply} are kept for the answer.",
            hint="Use a preset with a shorter prompt and fewer functions, shorten core memory, or "
            "give the model a larger `context`.",
        )

    async def _size(self, parts: Parts, limit: int | None = None) -> int:
        return (await self._gateway.measure(self._request(parts), limit)).tokens

    def _stand_in(self, parts: Parts) -> Parts:
        """The parts with no messages, and a summary that says nothing yet."""
        hidden = len(parts.logged) + (parts.summary.hidden if parts.summary else 0)
        empty = Summary(1, 1, "", "dropped", self._clock(), hidden)
        return msgspec.structs.replace(parts, logged=(), summary=empty)

    def _request(self, parts: Parts) -> Request:
        return request(parts, reply=self.reply, shown=self._as_shown)

    @property
    def _most(self) -> int:
        return self.window - self.reply

    @property
    def _threshold(self) -> int:
        return int(self.window * self._settings.pressure)

    @property
    def _message(self) -> int:
        """The tokens of a message that are shown, at most."""
        return self._shorter or max(_SHORTEST, self._most // _MESSAGE)

    def _shown_at(self, limit: int | None) -> None:
        """Show so many tokens of a message from now on."""
        self._shorter = limit
        self._shown.clear()

    async def _shorten(self, logged: Sequence[Logged]) -> None:
        """Find out how messages stand in the prompt; those of the turns before are known."""
        limit = self._message
        if self._shown_for != limit:
            self._shown.clear()
            self._shown_for = limit
        for entry in logged:
            kept = self._shown.get(entry.position)
            if kept is None or (kept[0] is not entry.message and kept[0] != entry.message):
                message = entry.message
                if not fits_surely(message, limit):
                    message = await within(message, limit, self._count)
                self._shown[entry.position] = entry.message, message

    def _as_shown(self, entry: Logged) -> Message:
        kept = self._shown.get(entry.position)
        return entry.message if kept is None else kept[1]

    async def _count(self, text: str) -> int:
        return (await self._gateway.count(self._model, text)).tokens

    def _fitted(
        self, parts: Parts, asked: Request, measured: Measured, *, pressure: bool = False
    ) -> Fitted:
        self._sent = asked
        return Fitted(
            asked,
            measured.tokens,
            self.window,
            self.reply,
            exact=measured.exact,
            pressure=pressure,
            notes=tuple(self._news(parts, measured)),
        )

    def _news(self, parts: Parts, measured: Measured) -> Iterator[Note]:
        """What was not said yet of how the prompt came to be."""
        said = []
        if measured.estimated:
            said.append(("estimated", "this model's tokens can't be counted: they are estimated"))
        if self._context is None and self._settings.window is None:
            text = (
                f"nobody knows this model's context, {self.window} tokens are used of it: set "
                "`context` for the model or `window` for agents"
            )
            said.append(("estimated", text))
        if self._refused:
            text = f"the model takes less than was told: {self.window} tokens are used of it"
            said.append(("estimated", text))
        for entry in parts.logged:
            if self._as_shown(entry) is not entry.message:
                text = f"message {entry.position} is too long for the window: its middle is not"
                said.append(("trimmed", f"{text} shown to the model"))
        for code, text in said:
            if text not in self._said:
                self._said.add(text)
                yield Note(code, text)
