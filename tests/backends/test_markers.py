"""Control tokens and chat templates, on each engine: what is shown, added and told."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio
from asking import CAPITAL, GREEDY, answer, text
from engines import needs_engine, needs_server, running_server
from marked import BOS, MARK, TEMPLATE, TOOL_TEMPLATE, marked_model

from llmgate.backends import open_backend
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ModelSettings
from llmgate.types import ChatTemplate, Prompt, Sampling

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINES = [
    pytest.param("embedded", marks=needs_engine),
    # The model is made with the engine's help.
    pytest.param("llamacpp", marks=[needs_server, needs_engine]),
]
ENDS = ("<|im_end|>", "</s>", "<|endoftext|>")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return marked_model(tmp_path_factory.mktemp("model") / "marked.gguf")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def engine(request, model):
    """Each engine, with the model that has markers."""
    if request.param == "embedded":
        backend = open_backend("marked", ModelSettings(path=str(model), threads=1))
        await backend.start()
        yield backend
    else:
        with running_server(model=model) as (url, _):
            backend = open_backend("marked", ModelSettings(backend="llamacpp", url=url))
            await backend.start()
            yield backend
    await backend.aclose()


async def test_the_template_is_known_after_start(engine):
    template = engine.caps.template
    assert template == ChatTemplate(TEMPLATE, bos=BOS, eos="</s>", tools=TOOL_TEMPLATE)
    assert engine.caps.grammar


async def test_bos_is_there_once_whether_it_is_rendered_or_not(engine):
    one = Sampling(max_tokens=1)
    for prompt in ("garden", f"{BOS}garden"):
        got = await answer(engine, Prompt(prompt, sampling=one))
        assert got.usage.prompt == await engine.count("garden") + 1


async def test_a_preserved_control_token_is_seen(engine):
    for preserved in ((MARK,), ("", "nothing", MARK, "</think>")):
        for limit in (3, 4, 5):
            sampling = Sampling(temperature=0.0, max_tokens=limit)
            got = await answer(engine, Prompt("x", preserved=preserved, sampling=sampling))
            assert (got.finish, got.usage.completion) == ("length", limit)
            before, mark, after = got.message.content.partition(MARK)
            assert before
            assert mark
            assert bool(after) == (limit > 3)


async def test_a_preserved_control_token_may_be_the_last_one(engine):
    """After it only the end is allowed: what is held back until it is clear is not lost."""
    free = await text(engine, Prompt("x", preserved=(MARK,), sampling=GREEDY))
    begin = json.dumps(free.partition(MARK)[0], ensure_ascii=False)
    held = f'root ::= {begin} "{MARK}"'
    prompt = Prompt("x", grammar=held, preserved=(MARK, *ENDS), sampling=GREEDY)
    got = await answer(engine, prompt)
    assert (got.message.content, got.finish) == (json.loads(begin) + MARK, "stop")
    assert got.usage.completion == 4


async def test_the_token_that_ends_an_answer_is_never_seen(engine):
    for preserved in ((), ENDS):
        prompt = Prompt("x", grammar='root ::= "ab"', preserved=preserved, sampling=GREEDY)
        got = await answer(engine, prompt)
        assert (got.message.content, got.finish) == ("ab", "stop")


@pytest.mark.parametrize("kind", ENGINES)
async def test_the_shipped_model_ends_its_answer_unseen(kind, request):
    settings = ModelSettings(threads=1)
    if kind == "llamacpp":
        url = request.getfixturevalue("llama_server")
        settings = ModelSettings(backend="llamacpp", url=url)
    backend = open_backend("tiny", settings)
    prompt = Prompt(CAPITAL, preserved=("<|im_end|>", "France", "."), sampling=GREEDY)
    assert await text(backend, prompt) == "The capital of France is Paris."
    template = backend.caps.template
    assert template is not None
    assert "<|im_start|>" in template.text
    assert (template.bos, template.eos, template.tools) == ("<|endoftext|>", "</s>", None)
    await backend.aclose()


async def test_a_script_has_the_template_it_is_given(tmp_path):
    template = ChatTemplate("{{ messages }}", bos="<s>")
    assert ScriptedBackend(template=template).caps.template == template
    assert ScriptedBackend(template="{{ x }}").caps.template == ChatTemplate("{{ x }}")
    assert ScriptedBackend().caps.template is None
    file = tmp_path / "script.json"
    file.write_text('{"answers": ["Hi."], "template": {"text": "{{ x }}", "eos": "</s>"}}')
    backend = open_backend("fake", ModelSettings(backend="scripted", path=str(file)))
    assert backend.caps.template == ChatTemplate("{{ x }}", eos="</s>")
    assert await text(backend, Prompt("")) == "Hi."
