"""How long a prompt is before it is sent: exactly, or never less than it is."""

from __future__ import annotations

import re

import msgspec
import pytest
from scripted_models import FakeClock, gateway_of, model_of

from llmgate.backends.scripted import ScriptedBackend
from llmgate.errors import BackendUnreachable, OutputError
from llmgate.gateway import Gateway, Route
from llmgate.gateway.measuring import told
from llmgate.gateway.models import Family, Policy
from llmgate.types import Caps, ChatTemplate, Message, Request, Tool, ToolCall, ToolChoice, Usage
from llmgate.wrappers import ModelWrapper, Wrapper

CHATML = Wrapper.load("chatml")
ADD = Tool("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}})
USER = Message("user", "Hello.")
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}<|assistant|>"
)


class Pieces(ScriptedBackend):
    """A tokenizer with marks, words in pieces and digits, which notes down what it counts."""

    def __init__(self, answers=(), **caps):
        super().__init__(answers, caps=Caps(**{"grammar": True, "tokenize": True, **caps}))
        self.counted = []

    async def count(self, text):
        self.counted.append(text)
        return self.tokens(text)

    def tokens(self, text):
        return len(re.findall(r"<\|\w+\|>|\d| ?[^\W\d]{1,5}|\s+| ?[^\w\s]{1,2}", text))


def gateway_over(backend, wrapper=CHATML):
    return Gateway({"m": Route(backend, wrapper)})


def conversation(turns, **fields):
    messages = [Message("system", "You are Iris.")]
    for number in range(turns):
        messages.append(Message("user", f"Where is order {number * 37}, the blue one?"))
        call = ToolCall(f"c{number}", "add", f'{{"n": {number}}}')
        messages.append(Message("assistant", "I look it up.", (call,)))
        messages.append(Message("tool", f"It is at place {number}.", tool_call_id=call.id))
    return Request("m", (*messages, Message("user", "And now?")), tools=(ADD,), **fields)


async def test_it_is_the_prompt_that_a_generation_sends_counted_by_its_tokenizer():
    backend = Pieces(['{"function": "add", "params": {"n": 1}}'], context=4096)
    gateway = gateway_over(backend)
    request = conversation(3, tool_choice=ToolChoice("required"), conversation="c")
    measured = await gateway.measure(request)
    await gateway.complete(request)
    [prompt] = backend.prompts
    assert measured.text == prompt.text
    # One more than counted: some models put a token of their own before everything.
    assert (measured.tokens, measured.exact) == (backend.tokens(prompt.text) + 1, True)
    assert (measured.context, measured.estimated) == (4096, False)


async def test_nothing_is_counted_where_even_the_bytes_fit():
    backend = Pieces()
    gateway = gateway_over(backend)
    request = conversation(3)
    measured = await gateway.measure(request, 10_000)
    assert backend.counted == []
    assert not measured.exact
    assert backend.tokens(measured.text) < measured.tokens <= 10_000


async def test_of_a_prompt_that_goes_on_only_the_rest_is_counted():
    backend = Pieces()
    gateway = gateway_over(backend)
    known = await gateway.measure(conversation(100))
    limit = known.tokens * 2
    for turns in range(101, 130):
        backend.counted.clear()
        measured = await gateway.measure(conversation(turns), limit, known=known)
        true = backend.tokens(measured.text)
        assert true <= measured.tokens <= limit
        assert measured.tokens - true < 80
        assert sum(map(len, backend.counted)) < len(measured.text) / 2
        known = measured


async def test_near_the_limit_all_of_it_is_counted_at_once():
    backend = Pieces()
    gateway = gateway_over(backend)
    known = await gateway.measure(conversation(50))
    whole = await gateway.measure(conversation(51))
    for limit in range(whole.tokens - 12, whole.tokens + 12):
        measured = await gateway.measure(conversation(51), limit, known=known)
        assert measured.exact
        assert measured.tokens == whole.tokens


async def test_what_is_far_over_the_limit_needs_no_whole_count_either():
    backend = Pieces()
    gateway = gateway_over(backend)
    known = await gateway.measure(conversation(100))
    backend.counted.clear()
    measured = await gateway.measure(conversation(101), known.tokens // 2, known=known)
    assert measured.tokens > known.tokens
    assert sum(map(len, backend.counted)) < 1000


@pytest.mark.parametrize("at", [0, 40, 150])
async def test_a_changed_beginning_makes_what_was_known_useless_and_nothing_wrong(at):
    backend = Pieces()
    gateway = gateway_over(backend)
    request = conversation(50)
    known = await gateway.measure(request)
    messages = list(request.messages)
    messages[at] = Message(messages[at].role, "Something else, and longer than it was: " + "x" * 90)
    changed = msgspec.structs.replace(request, messages=tuple(messages))
    measured = await gateway.measure(changed, known.tokens * 3, known=known)
    true = backend.tokens(measured.text)
    assert true <= measured.tokens < true * 4
    exactly = await gateway.measure(changed, true + 1, known=known)
    assert exactly.tokens == true + 1


async def test_without_a_tokenizer_it_is_an_estimate_that_errs_on_the_high_side():
    backend = Pieces(tokenize=False)
    measured = await gateway_over(backend).measure(conversation(20))
    assert backend.counted == []
    assert (measured.exact, measured.estimated) == (False, True)
    assert measured.tokens > backend.tokens(measured.text)


async def test_a_server_that_makes_its_prompts_itself_is_estimated_with_its_tools():
    backend = ScriptedBackend(caps=Caps(chat=True, context=8192))
    gateway = gateway_over(backend)
    request = conversation(20)
    measured = await gateway.measure(request)
    bare = await gateway.measure(msgspec.structs.replace(request, tools=()))
    assert (measured.estimated, measured.context) == (True, 8192)
    words = sum(len((message.content or "").split()) for message in request.messages)
    assert measured.tokens > bare.tokens > words * 1.5


async def test_what_the_server_counted_is_known_of_the_next_prompt():
    gateway = gateway_over(ScriptedBackend(caps=Caps(chat=True)))
    estimated = await gateway.measure(conversation(20))
    counted = told(estimated, int(estimated.tokens * 0.7))
    after = await gateway.measure(conversation(21), 1, known=counted)
    blind = await gateway.measure(conversation(21), 1, known=estimated)
    assert after.tokens < blind.tokens
    assert after.tokens > counted.tokens


async def test_a_count_that_leaves_out_what_was_cached_is_not_believed():
    gateway = gateway_over(ScriptedBackend(caps=Caps(chat=True)))
    estimated = await gateway.measure(conversation(20))
    assert told(estimated, 12) is estimated


async def test_an_exact_count_is_not_put_in_doubt_by_what_a_server_says():
    measured = await gateway_over(Pieces()).measure(conversation(3))
    assert told(measured, measured.tokens - 2) is measured


async def test_a_backend_that_has_not_said_what_it_is_like_is_started_first():
    class Shy(Pieces):
        async def start(self):
            await super().start()
            template = ChatTemplate(TEMPLATE)
            self._caps = msgspec.structs.replace(self._caps, context=2048, template=template)

    backend = Shy()
    measured = await gateway_over(backend, ModelWrapper()).measure(Request("m", (USER,)))
    assert (backend.started, measured.context) == (1, 2048)
    assert measured.text == "<|user|>Hello.<|end|>\n<|assistant|>"
    await gateway_over(backend, ModelWrapper()).measure(Request("m", (USER,)))
    assert backend.started == 1


async def test_a_backend_that_is_down_is_estimated_and_not_an_error():
    backend = Pieces()
    backend.sick = BackendUnreachable("Nobody is there.")
    measured = await gateway_over(backend, ModelWrapper()).measure(Request("m", (USER,)))
    assert not measured.exact
    assert measured.tokens > 5


async def test_the_window_of_a_model_is_that_of_its_smallest_replica():
    clock = FakeClock()
    backends = [ScriptedBackend(caps=Caps(context=context)) for context in (8192, 4096)]
    gateway = gateway_of(model_of("m", *backends, clock=clock), clock=clock)
    assert (await gateway.measure(Request("m", (USER,)))).context == 4096


async def test_models_of_a_family_are_measured_as_all_others():
    backend = Pieces(context=512)
    family = Family(
        "some/*", Policy(), lambda parts: model_of(parts[0], backend, clock=FakeClock())
    )
    measured = await Gateway({"some/*": family}).measure(Request("some/thing", (USER,)))
    assert measured.context == 512
    assert (await Gateway({"some/*": family}).count("some/x", "one two")).tokens == 1 + 2


async def test_a_text_is_counted_by_the_models_own_tokenizer():
    counted = await gateway_over(Pieces()).count("m", "<|im_end|> 12 words")
    # The mark, a blank, two digits, the word; and what may be added at the beginning.
    assert (counted.tokens, counted.exact) == (1 + 1 + 2 + 1 + 1, True)


async def test_an_answer_is_not_corrected_where_the_longer_prompt_is_not_wanted():
    backend = Pieces(["no call", '{"function": "add", "params": {"n": 1}}'])
    gateway = gateway_over(backend)
    request = conversation(1, tool_choice=ToolChoice("required"))
    with pytest.raises(OutputError):
        await gateway.complete(request, correct=False)
    assert len(backend.prompts) == 1
    backend = Pieces(["no call", '{"function": "add", "params": {"n": 1}}'])
    completion = await gateway_over(backend).complete(request)
    assert "retried" in [note.code for note in completion.notes]
    assert completion.usage != Usage()
