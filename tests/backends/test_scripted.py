import msgspec
import pytest
from asking import answer, text

from llmgate.backends import open_backend
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ModelSettings
from llmgate.errors import BackendTimeout, BackendUnreachable, ConfigError, Unsupported
from llmgate.types import (
    Caps,
    Completion,
    Delta,
    Message,
    Prompt,
    Request,
    Sampling,
    ToolCall,
    Usage,
)


async def test_answers_come_in_order_and_prompts_are_kept():
    backend = ScriptedBackend(["One.", ["Tw", "o."]])
    prompts = [Prompt("first"), Prompt("second", grammar='root ::= "a"')]
    assert [await text(backend, prompt) for prompt in prompts] == ["One.", "Two."]
    assert backend.prompts == prompts


async def test_the_pieces_are_the_deltas():
    backend = ScriptedBackend([["a", "b c", "d"]])
    deltas = [delta.text async for delta in backend.complete(Prompt(""))]
    assert deltas == ["a", "b c", "d", ""]


async def test_an_exception_is_raised_at_its_place():
    backend = ScriptedBackend([BackendTimeout("late"), ["some ", BackendTimeout("later")]])
    with pytest.raises(BackendTimeout, match=r"^late$"):
        await answer(backend, Prompt(""))
    deltas = backend.complete(Prompt(""))
    assert (await anext(deltas)).text == "some "
    with pytest.raises(BackendTimeout, match="later"):
        await anext(deltas)


async def test_a_function_of_the_prompt_may_answer():
    backend = ScriptedBackend(lambda prompt: prompt.text.upper())
    assert await text(backend, Prompt("echo")) == "ECHO"


async def test_a_script_at_its_end_says_so():
    backend = ScriptedBackend(["only"])
    await answer(backend, Prompt(""))
    with pytest.raises(BackendUnreachable, match="no answer number 2"):
        await answer(backend, Prompt(""))


async def test_words_are_tokens():
    backend = ScriptedBackend(["one two  three\nfour "] * 2)
    got = await answer(backend, Prompt("a b", sampling=Sampling(max_tokens=3)))
    assert got.message.content == "one two  three"
    assert (got.finish, got.usage) == ("length", Usage(2, 3))
    got = await answer(backend, Prompt("", stop=(" thr",)))
    assert (got.message.content, got.finish) == ("one two ", "stop")


async def test_a_reader_that_goes_away_is_counted():
    backend = ScriptedBackend([["a", "b"]])
    deltas = backend.complete(Prompt(""))
    await anext(deltas)
    await deltas.aclose()
    assert backend.cancelled == 1


async def test_a_file_can_hold_a_script(tmp_path):
    file = tmp_path / "answers.json"
    file.write_text('["Hi.", ["a", "b"]]')
    settings = ModelSettings(backend="scripted", path=str(file), context=100)
    backend = open_backend("fake", settings)
    assert backend.caps == Caps(grammar=True, tokenize=True, context=100)
    assert [await text(backend, Prompt("")) for _ in range(2)] == ["Hi.", "ab"]


@pytest.mark.parametrize("content", ['"Hi."', "[5]", "{", None])
def test_a_file_that_is_no_script_is_refused(tmp_path, content):
    file = tmp_path / "answers.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="not a JSON list of answers"):
        open_backend("fake", ModelSettings(backend="scripted", path=str(file)))
    with pytest.raises(ConfigError, match="`path`"):
        open_backend("fake", ModelSettings(backend="scripted"))


CHATTY = Caps(chat=True)
ASKED = Request("m", (Message("user", "How late is it?"),))


async def chat(backend, request=ASKED):
    return Completion.fold([delta async for delta in backend.chat(request)])


async def test_messages_are_answered_by_text_messages_or_deltas():
    call = ToolCall("a", "clock", '{"zone": "CET"}')
    said = Message("assistant", "Let me see.", (call,), reasoning="Hm.")
    last = Delta(finish="length", usage=Usage(1, 2))
    backend = ScriptedBackend(["Late.", said, ["ha", Delta(reasoning="Hm."), last]], caps=CHATTY)
    assert (await chat(backend)).message.content == "Late."
    got = await chat(backend)
    assert (got.message, got.finish) == (said, "tool_calls")
    got = await chat(backend)
    assert (got.message.content, got.finish, got.usage) == ("ha", "length", Usage(1, 2))
    assert backend.requests == [ASKED] * 3
    with pytest.raises(BackendUnreachable, match="number 4"):
        await chat(backend)


async def test_messages_are_answered_with_stops_limits_and_failures():
    backend = ScriptedBackend(lambda request: request.messages[-1].content, caps=CHATTY)
    request = msgspec.structs.replace(ASKED, stop=("it",), sampling=Sampling(max_tokens=9))
    got = await chat(backend, request)
    assert (got.message.content, got.finish, got.usage) == ("How late is ", "stop", Usage(4, 4))
    failing = ScriptedBackend([["a", BackendTimeout("slow")]], caps=CHATTY)
    with pytest.raises(BackendTimeout):
        await chat(failing)


async def test_only_a_chat_is_asked_with_messages():
    with pytest.raises(Unsupported, match="prompts"):
        await chat(ScriptedBackend(["Hi."]))


async def test_a_file_can_hold_a_chat(tmp_path):
    file = tmp_path / "answers.json"
    calls = '[{"name": "clock", "arguments": {"zone": "CET"}}, {"name": "x", "arguments": "{", '
    calls += '"id": "b"}]'
    file.write_text(f'{{"chat": true, "answers": ["Hi.", ["a", "b"], {{"tool_calls": {calls}}}]}}')
    backend = open_backend("fake", ModelSettings(backend="scripted", path=str(file)))
    assert backend.caps == Caps(chat=True)
    assert [(await chat(backend)).message.content for _ in range(2)] == ["Hi.", "ab"]
    got = await chat(backend)
    assert got.message.tool_calls == (
        ToolCall("", "clock", '{"zone":"CET"}'),
        ToolCall("b", "x", "{"),
    )
    file.write_text('[{"content": "x"}]')
    with pytest.raises(ConfigError, match="objects"):
        open_backend("fake", ModelSettings(backend="scripted", path=str(file)))
