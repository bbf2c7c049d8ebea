"""Random agents and what happens to them: every prompt that is sent is measured by its backend."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime, timedelta

import msgspec

from llmgate.agent.prompt import Parts
from llmgate.agent.window import Fitter
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import AgentSettings
from llmgate.errors import BackendTimeout, ContextOverflow
from llmgate.gateway import Gateway, Route
from llmgate.memory.conversation import Logged, Window
from llmgate.types import Caps, Message, Request, Tool, ToolCall
from llmgate.wrappers import ModelWrapper, Wrapper

BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)
WINDOWS = (*(1024, 2048, 3000, 4096) * 3, 8192, 8192, 16384, 32768)
# Without a line break anywhere: there is no good place to count in pieces.
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
    "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WRAPPERS = {name: Wrapper.load(name) for name in ("chatml", "airoboros", "dolphin", "zephyr")}
WRAPPERS["model"] = ModelWrapper()
TEXT = (
    "the agent remembers that order seventy-seven was sent to Kraków on Tuesday morning "
    'naïve façade 日本語の文章です Привет мир emoji 😀😀 {json} <|im_start|> \\n "quoted" [/INST] '
    "ничего antidisestablishmentarianism x=1; fn(a, b) https://example.org/a?b=c 0123456789 ok"
)
WORDS = TEXT.split(" ")
# A long text to take random parts of: making up each word anew takes longer than all the rest.
BOOK = random.Random(0).choices(WORDS, k=40_000)
PIECES = re.compile(r"<\|\w+\|>|\d| ?[^\W\d]{1,4}|\s+| ?[^\w\s]{1,3}|.", re.DOTALL)


def words(text):
    """A token for each word."""
    return len(text.split())


def bytes_(text):
    """A token for each byte."""
    return len(text.encode())


def chunks(text):
    """Like a real vocabulary: marks whole, words in pieces of four letters, digits one by one."""
    return len(PIECES.findall(text))


TOKENIZERS = {"words": words, "bytes": bytes_, "chunks": chunks}


class Counting(ScriptedBackend):
    """A backend with a tokenizer and a window, and with no mercy for one token too many."""

    def __init__(self, answers, *, context, tokens=None):
        caps = Caps(grammar=True, tokenize=True, context=context)
        super().__init__(answers, caps=caps, template=TEMPLATE)
        self.tokens = tokens
        self.context = context

    async def count(self, text):
        return self.tokens(text)

    async def complete(self, prompt):
        left = self.context - await self.count(prompt.text) - prompt.sampling.max_tokens
        assert left >= 0, f"{-left} tokens over the window of {self.context}"
        async for delta in super().complete(prompt):
            yield delta


def text_of(rng, count):
    begin = rng.randrange(len(BOOK) // 2)
    return " ".join(BOOK[begin : begin + count])


def tools_of(rng):
    """Between none and a dozen functions, some with long descriptions."""
    tools = []
    for number in range(rng.choice((0, 1, 3, 8, 12))):
        properties = {
            f"field_{at}": {"type": "string", "description": text_of(rng, rng.randint(1, 8))}
            for at in range(rng.randint(0, 4))
        }
        parameters = {"type": "object", "properties": properties, "required": list(properties)}
        tools.append(Tool(f"tool_{number}", text_of(rng, rng.randint(1, 25)), parameters))
    return tuple(tools)


def summaries_of(rng):
    """What a model may write when it is asked for a summary: seldom only what it should."""

    def answer(prompt):
        kind = rng.randrange(8)
        if kind == 0:
            return ""
        if kind == 1:
            return '{"function": "send_message", "params": {"message": "Hi."}}'
        if kind == 2:
            return "and then and then " * 300
        if kind == 3:
            return BackendTimeout("It took too long.")
        if kind == 4:
            return text_of(rng, 3000)
        return f"They spoke of {text_of(rng, rng.randint(5, 60))}. It is still open."

    return answer


class Story:
    """One agent whose conversation grows by random turns."""

    def __init__(self, seed, *, count=None):
        self.rng = rng = random.Random(seed)
        tokens = TOKENIZERS[rng.choice(tuple(TOKENIZERS))]
        # Where each byte is a token, a thousand of them are no window at all.
        self.context = rng.choice([w for w in WINDOWS if tokens != bytes_ or w > 3000])
        self.backend = backend = Counting(summaries_of(rng), tokens=tokens, context=self.context)
        if count is not None:
            backend.count = count
        self.tightest = self.context
        self.wrapper = WRAPPERS[rng.choice(tuple(WRAPPERS))]
        self.gateway = Gateway({"m": Route(backend, self.wrapper)})
        self.now = BEGIN
        settings = AgentSettings(
            reply_tokens=rng.choice((64, 256, 512, 2000)), pressure=rng.choice((0.5, 0.75, 1.0))
        )
        self.fitter = Fitter(self.gateway, settings, clock=lambda: self.now)
        self.settings = settings
        self.tools = tools_of(rng)
        self.core = text_of(rng, rng.randint(5, 100))
        self.window = Window(head=self.core, start=1)
        self.logged = []
        self.summary = None
        self.position = 0
        self.compactions = 0
        self.notes = []
        # What it ended with, where the head alone was too large.
        self.overflow = None

    def add(self, message, kind):
        self.position += 1
        self.now += timedelta(seconds=30)
        self.logged.append(Logged(self.position, self.now, message, kind))

    def length(self):
        """How many words a text has: most are short, a few larger than any window."""
        usual = (3, 10, 30, 80)
        return self.rng.choice(usual) if self.rng.random() < 0.97 else self.context // 2

    def turn(self):
        """An event, and what the agent did about it."""
        rng = self.rng
        event = {"type": "user_message", "message": text_of(rng, self.length()), "time": "now"}
        kind = rng.choice(("user_message", "user_message", "heartbeat"))
        if kind == "heartbeat":
            event = {"type": "heartbeat", "reason": "again", "time": "now"}
        self.add(Message("user", json.dumps(event, ensure_ascii=False)), f"event:{kind}")
        if rng.random() < 0.1:
            return
        call = ToolCall(
            f"call{self.position:05d}",
            rng.choice(("send_message", "tool_0")),
            json.dumps({"message": text_of(rng, self.length())}, ensure_ascii=False),
        )
        self.add(Message("assistant", text_of(rng, rng.randint(0, 20)), (call,)), "assistant")
        result = {"status": "OK", "message": text_of(rng, self.length()), "time": "now"}
        content = json.dumps(result, ensure_ascii=False)
        self.add(Message("tool", content, tool_call_id=call.id, name=call.name), "result")

    async def head(self, room=None):
        return self.core[:room]

    async def step(self):
        """Fit the prompt and send it, as an agent does before each answer."""
        parts = Parts("ann", "m", self.window, tuple(self.logged), self.summary, tools=self.tools)
        if self.rng.random() < 0.02:
            fitted = await self.fitter.compact(parts, head=self.head)
            if fitted is None:
                return None
        else:
            fitted = await self.fitter.fit(parts, head=self.head)
        self.check(fitted)
        backend = self.backend
        prompt = self.wrapper.of(backend.caps).render(fitted.request, backend.caps)
        used = await backend.count(prompt.text)
        assert used + fitted.request.sampling.max_tokens <= fitted.window <= self.context
        assert used <= fitted.tokens
        assert not fitted.exact or used + 1 == fitted.tokens
        self.tightest = min(self.tightest, self.context - used - self.fitter.reply)
        self.notes.extend(fitted.notes)
        return fitted

    def check(self, fitted):
        """The window is a part of the conversation from an event on, with nothing missing."""
        if fitted.compacted is not None:
            self.window = fitted.compacted
            if fitted.summary is not None:
                self.compactions += 1
                self.summary = fitted.summary
                left = [entry for entry in self.logged if entry.position < self.window.start]
                assert left
                assert fitted.summary.last == left[-1].position
                assert fitted.summary.first == 1
                assert fitted.summary.hidden == left[-1].position
                self.logged = self.logged[len(left) :]
            assert self.logged[0].position == self.window.start
        if fitted.pressure:
            self.window = msgspec.structs.replace(self.window, alerted=True)
        messages = fitted.request.messages
        assert messages[0] == Message("system", self.window.head)
        turns = messages[2:] if self.summary is not None else messages[1:]
        assert [m.role for m in turns] == [e.message.role for e in self.logged]
        assert turns[0].role == "user" or self.logged[0].message.role == "assistant"
        called = {call.id for message in turns for call in message.tool_calls}
        assert all(m.tool_call_id in called for m in turns if m.role == "tool")
        for shown, entry in zip(turns, self.logged, strict=True):
            for call in shown.tool_calls:
                assert isinstance(json.loads(call.arguments), dict)
            if shown != entry.message:
                assert "left out" in str(shown)
        assert [tool.name for tool in fitted.request.tools] == sorted(t.name for t in self.tools)

    async def check_overflow(self):
        """It is given up only where more than half of the window is taken by what must be there."""
        assert f"window of {self.context} tokens" in str(self.overflow)
        request = Request("m", (Message("system", self.core), Message("user", "")), self.tools)
        caps = self.backend.caps
        bare = await self.backend.count(self.wrapper.of(caps).render(request, caps).text)
        assert bare * 2 > self.context, str(self.overflow)


async def tell(seed, *, count=None):
    """One story from its seed, to its end or to where nothing fits any more.

    `count` is a real tokenizer, in the place of a made up one.
    """
    story = Story(seed, count=count)
    turns = story.rng.choice((1, 2, 3, 8))
    # Many turns at first: an agent may come from a model with a larger window.
    for _ in range(story.rng.choice((1, 1, 4, 15))):
        story.turn()
    try:
        await story.step()
        for _ in range(turns):
            story.turn()
            await story.step()
    except ContextOverflow as error:
        story.overflow = error
        await story.check_overflow()
    return story
