"""What of a conversation fits the model's window, with room for the answer.

While everything fits, nothing is touched: each prompt is the one before it with more at its end.
When it does not, a large part leaves at once, so that this is rare: the oldest turns, up to one
that begins with an event, so that no call is parted from its result. A summary stands for them.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from llmgate.agent.cutting import Plan, calls_of, cuts_of, first_that, last_exchange
from llmgate.agent.prompt import UNSHOWN, Parts, request, sorted_tools
from llmgate.agent.shortening import Shown
from llmgate.agent.summarizing import Summarized, Summarizer
from llmgate.config import AgentSettings
from llmgate.errors import ContextOverflow
from llmgate.gateway import Gateway
from llmgate.gateway.measuring import Measured, told
from llmgate.memory.conversation import Logged, Summary, Window
from llmgate.types import Message, Note, Request, Tool, Usage

# What is taken for the window where nobody knows it.
_UNKNOWN = 8192
# No more than this part of a window is kept for the answer, and for the summary, which has at
# most so many tokens.
_ANSWER = 8
_SUMMARY, _LONGEST_SUMMARY = 8, 768
# This part of a window is for the conversation, if need be at the expense of core memory, of which
# so many characters or none are shown.
_CONVERSATION, _LEAST_ROOM = 8, 64
# A message longer than this part of the room for messages is shortened, and never below so much.
_MESSAGE, _SHORTEST = 2, 24
# What is left of the window after a backend has refused a prompt that should have fitted.
_LESS, _TIMES = 0.8, 4
# After so many failures to summarise in a row, only each time of this number is one tried.
_FAILURES, _AGAIN = 2, 8


class Head(Protocol):
    """Makes the head of the core memory of now, with at most `room` characters of that memory."""

    def __call__(self, room: int | None = None) -> Awaitable[str]: ...


class Fitted(msgspec.Struct, frozen=True):
    """A request whose prompt leaves room for the answer.

    `tokens` of `window` are taken by its prompt: counted where `exact`, else at most so many (or
    about, where nobody can count), and the answer may have `reply`. `pressure` says that it is
    time to warn the agent (once until the next compaction: `Window.alerted`). `compacted` is the
    new window where old turns had to leave it or its head is another, `summary` what stands for
    those turns: both have to be stored before the request is sent.
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
        # How often in a row the model gave no summary.
        self._failed = 0
        # How many characters of core memory are shown, if not all.
        self._room: int | None = None
        # Whether the head was written for another window, which may have had less room.
        self._other = False
        # How many tokens of a message are shown, if not as many as usual.
        self._shorter: int | None = None
        self._shown = Shown()
        self._said: set[str] = set()
        self._tools: tuple[tuple[Tool, ...], tuple[Tool, ...]] = ((), ())

    async def fit(
        self, parts: Parts, *, head: Head, compacting: Callable[[int], None] | None = None
    ) -> Fitted:
        """The request to send now; turns that do not fit any more are summarised.

        `head` makes the head of the current core memory, which is asked for at a compaction, and
        once more with less room for it if it is too large;
        `compacting` is told how many messages are about to be summarised.
        Raises `ContextOverflow` where the head and the tools leave no room for a conversation,
        and `BackendUnreachable` and its like where the model can't be asked for a summary now.
        """
        parts = await self._begin(parts)
        before = parts.window
        if self._other and UNSHOWN in before.head:
            parts = await self._headed(parts, head)
        self._other = False
        found = await self._tried(parts)
        if found is None:
            return await self._compacted(parts, head, compacting, asked_for=False)
        if parts.window is not before:
            return msgspec.structs.replace(found, compacted=parts.window)
        return found

    async def compact(
        self, parts: Parts, *, head: Head, compacting: Callable[[int], None] | None = None
    ) -> Fitted | None:
        """The same, with a compaction that is not needed yet; None where there is nothing to."""
        parts = await self._begin(parts)
        if not cuts_of(parts.logged):
            return None
        return await self._compacted(parts, head, compacting, asked_for=True)

    async def again(self, parts: Parts, raw: Sequence[Logged], *, head: Head) -> Fitted | None:
        """The summary made anew, from the messages `raw` that it stands for.

        None where there is none, or where the model gives none: then the old one stays.
        """
        before = parts.summary
        if before is None or not raw:
            return None
        parts = await self._begin(parts)
        self._shown_at(None)
        parts = await self._headed(parts, head)
        plan = await self._planned(parts, asked_for=True)
        summarizer = self._summarizer(parts)
        made = await summarizer.summarize(raw, "", limit=plan.summary, answer=self.reply)
        if made.how == "dropped":
            return None
        summary = msgspec.structs.replace(before, text=made.text, how=made.how, at=self._clock())
        window = msgspec.structs.replace(parts.window, summary=None)
        parts = msgspec.structs.replace(parts, window=window, summary=summary)
        return await self._settled(parts, summarizer)

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
        """The tokens that are kept for the answer: it gets more where the prompt leaves more."""
        return max(1, min(self._settings.reply_tokens, self.window // _ANSWER))

    async def _begin(self, parts: Parts) -> Parts:
        """The parts with tools in order, once the model's window is known."""
        if parts.model != self._model:
            # With another model nothing is as it was.
            self._model, self._context, self._measured = parts.model, None, None
            self._refused = self._failed = 0
            self._room, self._other = None, True
            self._shown_at(None)
        if self._tools[0] is not parts.tools:
            self._tools = parts.tools, sorted_tools(parts.tools)
        parts = msgspec.structs.replace(parts, tools=self._tools[1])
        if self._measured is None:
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
        head: Head,
        compacting: Callable[[int], None] | None,
        *,
        asked_for: bool,
    ) -> Fitted:
        """The request after as much as it takes has left the window."""
        self._shown_at(None)
        parts = await self._headed(parts, head)
        plan = await self._planned(parts, asked_for=asked_for)
        if plan.cut == 0:
            return await self._settled(parts, None)
        old = parts.logged[: plan.cut]
        if compacting is not None:
            compacting(len(old))
        if asked_for:
            self._failed = 0  # somebody wants to see it tried
        before = parts.summary
        summarizer = self._summarizer(parts)
        made = await self._summarized(summarizer, old, before.text if before else "", plan.summary)
        summary = Summary(
            first=before.first if before else old[0].position,
            last=old[-1].position,
            text=made.text,
            how=made.how,
            at=self._clock(),
            hidden=len(old) + (before.hidden if before else 0),
        )
        kept = parts.logged[plan.cut :]
        window = msgspec.structs.replace(
            parts.window, start=kept[0].position, summary=None, alerted=False
        )
        parts = msgspec.structs.replace(parts, window=window, logged=kept, summary=summary)
        found = await self._settled(parts, summarizer)
        return msgspec.structs.replace(found, notes=(made.note(len(old)), *found.notes))

    def _summarizer(self, parts: Parts) -> Summarizer:
        conversation = f"agent/{parts.agent}/summary"
        return Summarizer(self._gateway, parts.model, conversation, window=self.window)

    async def _headed(self, parts: Parts, head: Head) -> Parts:
        """The parts with the head of now, which leaves some of the window to the conversation.

        Where core memory is too large for that, only a part of it is shown: an agent can fill its
        own memory, and has to be able to shorten it.
        """
        most = self._most - self._most // _CONVERSATION
        text = await head()
        room = len(text)
        self._room = None
        while True:
            window = msgspec.structs.replace(parts.window, head=text)
            parts = msgspec.structs.replace(parts, window=window)
            if room == 0 or await self._size(self._stand_in(parts), most) <= most:
                return parts
            room = room // 2 if room > _LEAST_ROOM else 0
            text = await head(room)
            self._room = room

    async def _summarized(
        self, summarizer: Summarizer, old: Sequence[Logged], before: str, limit: int
    ) -> Summarized:
        """A summary; a model that gave none the last times is not asked each time."""
        if self._failed >= _FAILURES and self._failed % _AGAIN:
            self._failed += 1
            text = await summarizer.shortened(before, limit)
            why = "because the model gave none the last times"
            return Summarized(text, "dropped", why=why)
        made = await summarizer.summarize(old, before, limit=limit, answer=self.reply)
        self._failed = 0 if made.calls or made.how != "dropped" else self._failed + 1
        return made

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
        return request(parts, reply=self.reply, shown=self._shown, ordered=True)

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
        self._shown = Shown()

    async def _shorten(self, logged: Sequence[Logged]) -> None:
        await self._shown.prepare(logged, self._message, self._count)

    async def _count(self, text: str) -> int:
        return (await self._gateway.count(self._model, text)).tokens

    def _fitted(
        self, parts: Parts, asked: Request, measured: Measured, *, pressure: bool = False
    ) -> Fitted:
        reply = max(self.reply, min(self._settings.reply_tokens, self.window - measured.tokens))
        sampling = msgspec.structs.replace(asked.sampling, max_tokens=reply)
        self._sent = msgspec.structs.replace(asked, sampling=sampling)
        return Fitted(
            self._sent,
            measured.tokens,
            self.window,
            reply,
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
        if self._room is not None:
            text = f"core memory is too large for a window of {self.window} tokens: the model sees"
            said.append(("trimmed", f"{text} no more than {self._room} characters of it"))
        for entry in parts.logged:
            if self._shown.shortens(entry):
                text = f"message {entry.position} is too long for the window: its middle is not"
                said.append(("trimmed", f"{text} shown to the model"))
        for code, text in said:
            if text not in self._said:
                self._said.add(text)
                yield Note(code, text)
