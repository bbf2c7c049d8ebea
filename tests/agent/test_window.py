"""What fits the window: nothing is touched before it has to be, and then a large part at once."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta

import msgspec
import pytest

from llmgate.agent.cutting import calls_of, cuts_of, first_that
from llmgate.agent.prompt import UNSHOWN, Parts
from llmgate.agent.window import Fitter
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import AgentSettings
from llmgate.errors import BackendUnreachable, ContextOverflow
from llmgate.gateway import Gateway, Route
from llmgate.memory.conversation import Logged, Window
from llmgate.types import Caps, Message, Tool, ToolCall, Usage
from llmgate.wrappers import Wrapper

BEGIN = datetime(2026, 3, 1, 9).astimezone()
SUMMARY = "Ann spoke of orders and of the weather, and wants to know when order 77 comes."
TOOL = Tool("send_message", "Say it.", {"type": "object", "properties": {"message": {}}})


class Words(ScriptedBackend):
    """A word is a token."""

    async def count(self, text):
        return len(text.split())


class Story:
    """An agent's conversation, and the fitter that its prompts go through."""

    def __init__(self, *, context=1000, caps=None, head="You are Iris.", **settings):
        caps = caps or Caps(grammar=True, tokenize=True, context=context)
        self.answers = [SUMMARY] * 50
        self.backend = Words(lambda prompt: self.answers.pop(0), caps=caps)
        gateway = Gateway({"m": Route(self.backend, Wrapper.load("chatml"))})
        settings = AgentSettings(**{"reply_tokens": 100, **settings})
        self.fitter = Fitter(gateway, settings, clock=lambda: BEGIN)
        self.window = Window(head, 1)
        self.core = head
        # What of the head may be cut.
        self.block = ""
        self.logged = []
        self.summary = None
        self.position = 0
        self.compacting = []
        self.tools = (TOOL,)

    def add(self, message, kind):
        self.position += 1
        at = BEGIN + timedelta(seconds=self.position)
        self.logged.append(Logged(self.position, at, message, kind))

    def say(self, text):
        said = json.dumps({"type": "user_message", "message": text, "time": "now"})
        self.add(Message("user", said), "event:user_message")

    def beat(self):
        self.add(Message("user", '{"type": "heartbeat", "reason": "again"}'), "event:heartbeat")

    def call(self, text="I say it.", result="None"):
        call = ToolCall(f"c{self.position}", "send_message", json.dumps({"message": text}))
        self.add(Message("assistant", "I think.", (call,)), "assistant")
        packed = json.dumps({"status": "OK", "message": result})
        self.add(Message("tool", packed, tool_call_id=call.id), "result")

    def turn(self, words=20):
        self.say("what " * words)
        self.call("that " * words)

    @property
    def parts(self):
        return Parts("ann", "m", self.window, tuple(self.logged), self.summary, self.tools)

    async def head(self, room=None):
        return self.core + (self.block if room is None else self.block[:room])

    async def fit(self, *, compact=False):
        method = self.fitter.compact if compact else self.fitter.fit
        fitted = await method(self.parts, head=self.head, compacting=self.compacting.append)
        if fitted is not None and fitted.compacted is not None:
            self.window = fitted.compacted
            self.summary = fitted.summary or self.summary
            self.logged = [e for e in self.logged if e.position >= self.window.start]
        return fitted


async def test_what_fits_is_sent_as_it_is():
    story = Story()
    story.turn()
    fitted = await story.fit()
    assert fitted.request.messages[1:] == tuple(entry.message for entry in story.logged)
    assert (fitted.compacted, fitted.summary, fitted.notes) == (None, None, ())
    assert (fitted.window, fitted.reply) == (1000, 100)
    assert story.backend.prompts == []


async def test_prompts_grow_at_their_end_until_the_window_is_full_and_half_of_it_leaves():
    story = Story()
    compacted = []
    for turn in range(60):
        before = list(story.logged)
        story.turn()
        fitted = await story.fit()
        if fitted.compacted is None:
            assert fitted.request.messages[-len(before) - 3 : -3] == tuple(
                entry.message for entry in before
            )
        else:
            compacted.append(turn)
            assert fitted.tokens < 0.75 * 1000
    gaps = [after - before for before, after in itertools.pairwise(compacted)]
    assert len(compacted) > 3
    assert min(gaps) >= 4


async def test_a_summary_stands_for_what_left_and_is_folded_into_the_next():
    story = Story()
    seen = []
    while len(seen) < 2:
        story.turn()
        fitted = await story.fit()
        if fitted.summary is not None:
            seen.append(fitted)
    one, two = (fitted.summary for fitted in seen)
    assert (one.first, one.text, one.how) == (1, SUMMARY, "model")
    assert one.last == one.hidden == seen[0].compacted.start - 1
    assert (two.first, two.last, two.hidden) == (1, story.window.start - 1, two.last)
    assert SUMMARY in story.backend.prompts[1].text
    assert story.compacting == [one.hidden, two.hidden - one.hidden]
    assert "summarised" in seen[0].notes[0].message
    assert SUMMARY in json.loads(seen[0].request.messages[1].content)["message"]


async def test_core_memory_moves_into_the_head_at_a_compaction_and_not_before():
    story = Story()
    story.turn()
    await story.fit()
    story.core = "You are Iris, and Ann likes tea."
    heads = []
    for _ in range(30):
        story.turn()
        fitted = await story.fit()
        heads.append((fitted.compacted is not None, fitted.request.messages[0].content))
    first = [compacted for compacted, _ in heads].index(True)
    assert {text for _, text in heads[:first]} == {"You are Iris."}
    assert {text for _, text in heads[first:]} == {story.core}


async def test_the_agent_is_warned_once_until_the_next_compaction():
    story = Story(pressure=0.5)
    pressed, compactions = [], 0
    for turn in range(60):
        story.turn()
        fitted = await story.fit()
        compactions += fitted.summary is not None
        if fitted.pressure:
            pressed.append(turn)
            assert fitted.tokens > 500
            story.window = msgspec.structs.replace(story.window, alerted=True)
    assert compactions > 3
    assert compactions - 2 <= len(pressed) <= compactions + 1


async def test_no_warning_where_a_compaction_leaves_the_window_above_the_mark():
    story = Story(pressure=0.05)
    story.turn()
    assert (await story.fit()).pressure
    story.window = msgspec.structs.replace(story.window, alerted=True)
    while (fitted := await story.fit()).summary is None:
        story.turn()
    assert fitted.compacted.alerted
    story.turn(1)
    assert not (await story.fit()).pressure


async def test_a_turn_is_never_parted():
    story = Story()
    for _ in range(5):
        story.say("go on " * 10)
        for _ in range(3):
            story.call("this " * 30)
            story.beat()
    fitted = await story.fit()
    assert fitted.summary is not None
    assert story.logged[0].message.role == "user"
    calls = {call.id for m in fitted.request.messages for call in m.tool_calls}
    results = {m.tool_call_id for m in fitted.request.messages if m.role == "tool"}
    assert calls == results


async def test_what_a_person_said_last_stays_while_the_rest_is_long():
    story = Story()
    for _ in range(4):
        story.turn()
    story.say("Find the ONE thing.")
    for _ in range(10):
        story.call("step " * 30)
        story.beat()
    fitted = await story.fit()
    assert fitted.summary is not None
    assert "Find the ONE thing." in fitted.request.messages[2].content


async def test_a_chain_without_events_is_cut_before_an_answer():
    story = Story()
    story.say("Go.")
    for _ in range(60):
        story.call("step " * 20)
    fitted = await story.fit()
    assert fitted.summary is not None
    assert story.logged[0].message.role == "assistant"
    assert fitted.tokens <= 900


@pytest.mark.parametrize("huge", ["said", "result", "call"])
async def test_one_message_larger_than_the_window_is_shown_without_its_middle(huge):
    story = Story()
    long = " ".join(f"word{number}" for number in range(5000))
    story.say(long if huge == "said" else "Hello.")
    story.call(long if huge == "call" else "Hi.", long if huge == "result" else "None")
    fitted = await story.fit()
    assert fitted.tokens <= 900
    shown = str(fitted.request.messages)
    assert "characters left out" in shown
    assert "word0 " in shown
    assert "word4999" in shown
    assert long in str(story.logged)
    [note] = [note for note in fitted.notes if "too long" in note.message]
    assert note.code == "trimmed"
    assert await story.fit() is not None
    again = await story.fit()
    assert again.request.messages == fitted.request.messages
    assert again.notes == ()


async def test_a_message_that_was_written_anew_is_shown_as_it_is_now():
    story = Story()
    story.turn()
    await story.fit()
    entry = story.logged[0]
    anew = msgspec.structs.replace(entry.message, content="something else")
    story.logged[0] = msgspec.structs.replace(entry, message=anew)
    assert (await story.fit()).request.messages[1] == anew


async def test_messages_that_were_read_anew_are_not_said_to_be_too_long():
    story = Story()
    story.turn()
    await story.fit()
    story.logged = [
        msgspec.structs.replace(entry, message=msgspec.structs.replace(entry.message))
        for entry in story.logged
    ]
    assert (await story.fit()).notes == ()


async def test_one_turn_that_fills_the_window_is_shortened_and_the_head_is_that_of_now():
    story = Story()
    story.core = "You are Iris of now."
    story.say("a " * 440)
    story.call("b " * 440, "c " * 440)
    fitted = await story.fit()
    assert fitted.compacted is not None
    assert fitted.compacted.start == 1 or fitted.summary is not None
    assert fitted.request.messages[0].content == "You are Iris of now."
    assert fitted.tokens <= 900


async def test_a_head_that_is_too_large_says_what_takes_how_much():
    story = Story(head="x " * 700)
    story.tools = (msgspec.structs.replace(TOOL, description="y " * 300),)
    story.turn()
    with pytest.raises(ContextOverflow) as raised:
        await story.fit()
    text = str(raised.value)
    assert "'ann'" in text
    assert "window of 1000 tokens" in text
    numbers = [int(word.strip(",:.")) for word in text.split() if word.strip(",:.").isdigit()]
    assert any(700 <= number < 720 for number in numbers)
    assert any(300 <= number < 330 for number in numbers)
    assert "preset" in text


async def test_a_core_memory_that_fills_the_window_is_shown_in_part():
    story = Story()
    story.turn()
    await story.fit()
    story.block = " ".join(f"fact{number}" for number in range(2000))
    story.window = msgspec.structs.replace(story.window, head=await story.head())
    fitted = await story.fit()
    assert fitted.tokens <= 900
    assert fitted.compacted.head == story.window.head
    assert story.window.head.startswith("You are Iris.fact0 fact1")
    [note] = [note for note in fitted.notes if "core memory" in note.message]
    shown = int(note.message.split(" no more than ")[1].split()[0])
    assert len(story.window.head) == len("You are Iris.") + shown
    story.block = ""
    while (fitted := await story.fit()).compacted is None:
        story.turn()
    assert story.window.head == "You are Iris."


async def test_a_shorter_block_is_a_way_out_of_a_head_that_is_too_large():
    story = Story(head="x " * 950)
    story.turn()
    with pytest.raises(ContextOverflow):
        await story.fit()
    story.core = "x " * 300
    assert (await story.fit()).compacted.head == story.core


async def test_a_model_that_cannot_summarise_loses_nothing_but_the_summary():
    story = Story()
    story.answers = [""] * 50
    seen = []
    for _ in range(40):
        story.turn()
        fitted = await story.fit()
        if fitted.summary is not None:
            seen.append(fitted)
    assert len(seen) > 2
    for fitted in seen:
        assert (fitted.summary.how, fitted.summary.text) == ("dropped", "")
        assert "without a summary" in fitted.notes[0].message
    said = json.loads(fitted.request.messages[1].content)["message"]
    assert said.startswith(f"{story.summary.hidden} earlier messages")


async def test_a_model_that_never_summarises_is_not_asked_each_time():
    story = Story()
    story.answers = [""] * 50
    while len(story.compacting) < 9:
        story.turn()
        await story.fit()
    # Twice, and once more at the ninth time.
    assert len(story.backend.prompts) == 3
    story.turn()
    story.turn()
    await story.fit(compact=True)
    # Who asks for a summary sees it tried.
    assert len(story.backend.prompts) == 4
    story.answers = [SUMMARY] * 50
    while len(story.compacting) < 18:
        story.turn()
        await story.fit()
    assert len(story.backend.prompts) > 4
    assert story.summary.text == SUMMARY


async def test_a_model_that_is_not_there_leaves_everything_as_it_was():
    story = Story()
    while not story.compacting:
        story.turn()
        story.answers = [BackendUnreachable("Nobody is there.")]
        try:
            await story.fit()
        except BackendUnreachable:
            break
    assert story.window == Window("You are Iris.", 1)
    story.answers = [SUMMARY]
    assert (await story.fit()).summary.text == SUMMARY


async def test_a_smaller_model_gets_what_fits_it():
    story = Story(context=100_000)
    for _ in range(300):
        story.turn()
    assert (await story.fit()).summary is None
    small = Story(context=1000)
    small.logged, small.position = story.logged, story.position
    fitted = await small.fit()
    assert fitted.tokens <= 900
    assert len(small.backend.prompts) <= 6


async def test_the_window_of_the_settings_is_kept_to_where_the_model_has_more():
    story = Story(context=8000, window=600)
    for _ in range(30):
        story.turn()
        fitted = await story.fit()
        assert fitted.tokens + fitted.reply <= fitted.window == 600
    assert story.summary is not None


async def test_in_a_small_window_less_is_kept_for_the_answer_and_given_where_there_is_room():
    story = Story(context=800, reply_tokens=512)
    story.turn()
    fitted = await story.fit()
    assert story.fitter.reply == 100
    assert fitted.reply == fitted.request.sampling.max_tokens == 512
    for _ in range(30):
        story.turn()
        fitted = await story.fit()
        assert fitted.request.sampling.max_tokens >= 100
        assert fitted.tokens + fitted.request.sampling.max_tokens <= 800


async def test_compacting_on_demand_leaves_the_last_exchange():
    story = Story(context=10_000)
    for _ in range(10):
        story.turn()
    fitted = await story.fit(compact=True)
    assert fitted.summary.text == SUMMARY
    assert 3 <= len(story.logged) <= 15
    while (again := await story.fit(compact=True)) is not None:
        assert len(story.logged) >= 3
    assert again is None
    assert len(story.logged) == 3


async def test_a_refused_prompt_is_fitted_into_less_a_few_times():
    story = Story()
    for _ in range(8):
        story.turn()
    sizes = [(await story.fit()).tokens]
    while story.fitter.refused():
        fitted = await story.fit()
        assert fitted.tokens + fitted.reply <= fitted.window < 1000
        sizes.append(fitted.tokens)
    assert len(sizes) == 5
    assert sizes[-1] < sizes[0]


async def test_where_nobody_counts_it_is_estimated_once_said_and_learned_from_the_answers():
    story = Story(caps=Caps(chat=True, context=2000))
    story.turn()
    fitted = await story.fit()
    assert [note.code for note in fitted.notes] == ["estimated"]
    assert not fitted.exact
    for _ in range(12):
        story.turn()
        before = fitted
        story.fitter.used(fitted, Usage(int(fitted.tokens * 0.6), 10))
        fitted = await story.fit()
        assert fitted.notes == ()
    learned = fitted.tokens
    blind = Story(caps=Caps(chat=True, context=2000))
    blind.logged = story.logged
    assert learned < (await blind.fit()).tokens
    assert before is not fitted


async def test_where_nobody_knows_the_context_it_is_said_what_is_taken_for_it():
    story = Story(caps=Caps(grammar=True, tokenize=True))
    story.turn()
    [note] = (await story.fit()).notes
    assert "8192" in note.message
    assert "`context`" in note.message


async def test_another_model_is_asked_for_its_own_window():
    story = Story()
    story.turn()
    assert (await story.fit()).window == 1000
    other = Words([SUMMARY], caps=Caps(grammar=True, tokenize=True, context=500))
    gateway = Gateway({"m2": Route(other, Wrapper.load("airoboros"))})
    fitter = Fitter(gateway, AgentSettings(), clock=lambda: BEGIN)
    parts = msgspec.structs.replace(story.parts, model="m2")
    assert (await fitter.fit(parts, head=story.head)).window == 500


async def test_core_memory_that_was_cut_for_a_small_window_is_whole_in_a_larger_one():
    story = Story()
    story.block = "fact " * 1500
    cut = f"fact [7000 {UNSHOWN}"

    async def head(room=None):
        return story.core + (story.block if room is None else cut[: room + 80])

    story.head = head
    story.window = msgspec.structs.replace(story.window, head=await head())
    story.turn()
    small = await story.fit()
    assert UNSHOWN in small.compacted.head
    assert any("core memory is too large" in note.message for note in small.notes)
    caps = Caps(grammar=True, tokenize=True, context=20_000)
    for fitter in (story.fitter, Story().fitter):
        # In the same process and in another one.
        fitter._gateway = Gateway({"large": Route(Words([], caps=caps), Wrapper.load("chatml"))})
        parts = msgspec.structs.replace(story.parts, model="large", window=small.compacted)
        fitted = await fitter.fit(parts, head=head)
        assert fitted.compacted.head == story.core + story.block
        assert fitted.request.messages[0].content == fitted.compacted.head
        assert (fitted.summary, fitted.notes) == (None, ())
        parts = msgspec.structs.replace(parts, window=fitted.compacted)
        assert (await fitter.fit(parts, head=head)).compacted is None


def test_cuts_are_before_events_and_never_inside_a_turn():
    story = Story()
    story.turn()
    story.turn()
    story.call()
    assert cuts_of(story.logged) == [3]
    assert calls_of(story.logged) == [4, 6]
    assert cuts_of(story.logged[:3]) == []
    assert calls_of(()) == []


async def test_the_first_cut_that_fits_is_found_with_few_tries():
    tried = []

    async def fits(cut):
        tried.append(cut)
        return cut >= 3700

    assert await first_that(range(0, 10_000, 10), fits) == 3700
    assert len(tried) < 15
    assert await first_that([1, 2], fits) is None
    assert await first_that([], fits) is None
