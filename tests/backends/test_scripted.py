import pytest
from asking import answer, text

from llmgate.backends import open_backend
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ModelSettings
from llmgate.errors import BackendTimeout, BackendUnreachable, ConfigError
from llmgate.types import Caps, Prompt, Sampling, Usage


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
