"""Runs of a matrix: what is asked, in which way, and what of it is written down."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import msgspec
import pytest
from bench_doubles import (
    GRAMMARS,
    NOTHING,
    Oracle,
    asks_on,
    by_chance,
    run,
    timeless,
    weather,
)

from llmgate.backends.chat import ChatBackend, OpenAIBackend
from llmgate.backends.llamacpp import LlamaCppBackend
from llmgate.backends.scripted import ScriptedBackend
from llmgate.bench.asking import Plan
from llmgate.bench.capacity import places
from llmgate.bench.cases import Case, Expect
from llmgate.bench.cells import Choice, matrix
from llmgate.bench.journal import grammars, read
from llmgate.config import ModelSettings, Settings
from llmgate.errors import BackendBusy, BackendRejected, BackendUnreachable, LlmgateError
from llmgate.types import Caps, Message, Usage

CITIES = ["Paris", "Rome", "Oslo", "Bern", "Riga", "Kyiv", "Lima", "Baku"]
CASES = tuple(map(weather, CITIES))


def groups_of(*, constraints=("off",), wrappers=("chatml",), native=False, **settings):
    model = ModelSettings(backend="scripted", path="-", **settings)
    choice = Choice(wrappers=wrappers, constraints=constraints, native=native)
    return matrix(Settings(models={"m": model}), choice)[0]


async def one(tmp_path, backend, case, plan=None, **cells):
    """The only result of one case in one cell."""
    runner = await run(tmp_path, groups_of(**cells), (case,), plan or Plan(), backend)
    (result,) = read(tmp_path)
    return runner, result


async def test_every_case_is_asked_in_every_cell_once_for_each_sample(tmp_path):
    groups = groups_of(constraints=("off", "grammar"), wrappers=("chatml", "zephyr"))
    runner = await run(tmp_path, groups, CASES, Plan(samples=2), Oracle(by_chance))
    found = Counter((result.cell, result.key) for result in read(tmp_path))
    assert set(found.values()) == {1}
    assert len(found) == runner.progress.done == runner.progress.total == 4 * len(CASES) * 2
    wrong = {result.case for result in read(tmp_path) if result.outcome != "right"}
    assert wrong == {city for city in CITIES if by_chance(city)}


async def test_a_result_holds_all_that_was_read_and_written(tmp_path):
    _, result = await one(tmp_path, Oracle(caps=GRAMMARS), CASES[0], constraints=("grammar",))
    assert result.outcome == "right"
    assert "The weather in Paris?" in result.prompt
    assert "Paris" in result.output
    assert [(call.name, call.arguments) for call in result.calls] == [
        ("get_weather", '{"city": "Paris"}')
    ]
    assert dict(grammars(tmp_path))[result.grammar].startswith("root ::=")
    assert result.tokens_in > 5
    assert result.tokens_out > 3
    assert 0 < result.first_token <= result.seconds


async def test_off_is_held_to_nothing(tmp_path):
    _, result = await one(tmp_path, Oracle(caps=GRAMMARS), CASES[0])
    assert (result.grammar, list(grammars(tmp_path))) == ("", [])


async def test_a_schema_is_kept_where_the_backend_takes_schemas(tmp_path):
    case = Case("j", (Message("user", "?"),), Expect("json", schema={"type": "object"}), suite="s")
    backend = ScriptedBackend(lambda prompt: "{}", caps=Caps(schema=True))
    _, result = await one(tmp_path, backend, case, constraints=("schema",))
    assert msgspec.json.decode(dict(grammars(tmp_path))[result.grammar])["type"] == "object"
    assert backend.prompts[-1].schema is not None


async def test_cells_that_cannot_be_are_left_out_with_the_reason(tmp_path):
    groups = groups_of(constraints=("off", "grammar", "schema"), wrappers=("chatml", "model"))
    runner = await run(tmp_path, groups, CASES, Plan(), Oracle(caps=NOTHING))
    assert runner.progress.total == runner.progress.done == len(CASES)
    assert {result.cell.wrapper for result in read(tmp_path)} == {"chatml"}
    said = "\n".join(runner.progress.left_out)
    for part in ("takes no grammars", "takes no schemas", "no chat template"):
        assert part in said


async def test_prompts_begin_differently_so_that_no_cache_makes_them_fast(tmp_path):
    backend = Oracle()
    groups = groups_of(constraints=("off", "grammar"))
    await run(tmp_path, groups, CASES, Plan(samples=2), backend)
    beginnings = [prompt.text.partition("\n")[2][:40] for prompt in backend.prompts]
    assert len(set(beginnings)) == len(beginnings)


async def test_prompts_of_a_case_are_alike_where_that_is_wanted(tmp_path):
    backend = Oracle()
    await run(tmp_path, groups_of(), CASES[:1], Plan(samples=3, shared_prefixes=True), backend)
    assert len({prompt.text for prompt in backend.prompts}) == 1


async def test_seeds_are_fixed_and_the_same_in_all_cells(tmp_path):
    groups = groups_of(constraints=("off", "grammar"), wrappers=("chatml", "zephyr"))
    await run(tmp_path / "a", groups, CASES, Plan(samples=2), Oracle())
    await run(tmp_path / "b", groups, CASES, Plan(samples=2), Oracle())
    await run(tmp_path / "c", groups, CASES, Plan(samples=2, seed=2), Oracle())
    first, again, other = ([timeless(result) for result in read(tmp_path / name)] for name in "abc")
    assert first == again
    seeds = {(result.key, result.seed) for result in first}
    assert len(seeds) == len({seed for _, seed in seeds}) == 2 * len(CASES)
    assert not {seed for _, seed in seeds} & {result.seed for result in other}


async def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    groups = groups_of(constraints=("off", "grammar"))
    await run(tmp_path / "whole", groups, CASES, Plan(samples=2), Oracle(by_chance))
    backend = Oracle(by_chance)
    for number in range(1, 6):
        runner = await run(
            tmp_path / "parts", groups, CASES, Plan(samples=2), backend, stop_after=7
        )
        assert runner.progress.done == min(7 * number, 32)
    wanted = [timeless(result) for result in read(tmp_path / "whole")]
    assert [timeless(result) for result in read(tmp_path / "parts")] == wanted
    # Each is asked once, and each run of a cell warms up.
    assert len(backend.prompts) <= len(wanted) + 2 * 5


async def test_what_is_done_opens_no_backend(tmp_path):
    await run(tmp_path, groups_of(), CASES, Plan(), Oracle())
    backend = Oracle()
    runner = await run(tmp_path, groups_of(), CASES, Plan(), backend)
    assert (backend.started, runner.progress.asked, runner.progress.done) == (0, 0, len(CASES))


async def test_a_run_that_is_cancelled_has_no_half_results(tmp_path):
    reached = asyncio.Event()

    class Held(Oracle):
        async def complete(self, prompt):
            if len(self.prompts) == 4:
                reached.set()
                await asyncio.Event().wait()
            async for delta in super().complete(prompt):
                yield delta

    task = asyncio.create_task(run(tmp_path, groups_of(), CASES, Plan(), Held()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(list(read(tmp_path))) == 3
    await run(tmp_path, groups_of(), CASES, Plan(), Oracle())
    assert sorted(result.case for result in read(tmp_path)) == sorted(CITIES)


@pytest.mark.parametrize(("concurrency", "most"), [(None, 1), (3, 3)])
async def test_as_many_run_at_a_time_as_there_are_places(tmp_path, concurrency, most):
    backend = Oracle(seconds=0.002)
    groups = groups_of(concurrency=concurrency)
    await run(tmp_path, groups, CASES, Plan(), backend)
    assert backend.most == most
    assert len(list(read(tmp_path))) == len(CASES)


async def test_an_answer_that_is_refused_twice_is_invalid(tmp_path):
    backend = ScriptedBackend(lambda prompt: '{"function": "nobody", "params": {}}')
    _, result = await one(tmp_path, backend, CASES[0])
    assert result.outcome == "invalid"
    assert "nobody" in result.problems[0]
    assert result.error.startswith("OutputError: ")
    assert result.retries == 1
    assert result.tokens_out == 2 * 4
    assert "Answer again" in result.prompt


async def test_an_answer_that_is_right_the_second_time_has_a_retry(tmp_path):
    said = iter(["Warm.", '{"function": "nobody", "params": {}}'])
    oracle = Oracle()
    backend = ScriptedBackend(lambda prompt: next(said, None) or oracle._answer(prompt))
    case = msgspec.structs.replace(CASES[0])
    _, result = await one(tmp_path, backend, case)
    assert (result.retries, "retried" in result.notes) == (1, True)


async def test_what_had_to_be_mended_is_counted(tmp_path):
    broken = '{"function": "get_weather", "params": {"city": "Paris"'
    _, result = await one(tmp_path, ScriptedBackend(lambda prompt: broken), CASES[0])
    assert result.outcome == "right"
    assert result.repairs == len([c for c in result.notes if c in ("repaired", "closed")]) > 0


async def test_a_failure_that_passes_is_asked_again_and_counted(tmp_path):
    oracle = Oracle()
    said = iter(["Warm.", BackendBusy("full", retry_after=0.0), BackendUnreachable("gone")])
    backend = ScriptedBackend(lambda prompt: next(said, None) or oracle._answer(prompt))
    _, result = await one(tmp_path, backend, CASES[0])
    assert (result.outcome, result.retries) == ("right", 2)


async def test_a_case_that_always_fails_is_an_error_and_the_others_are_asked(tmp_path):
    def say(prompt):
        return BackendUnreachable("it died") if "Rome" in prompt.text else oracle._answer(prompt)

    oracle, backend = Oracle(), ScriptedBackend(say)
    runner = await run(tmp_path, groups_of(), CASES, Plan(), backend)
    found = {result.case: result for result in read(tmp_path)}
    assert found["Rome"].outcome == "error"
    assert found["Rome"].retries == 2
    assert "it died" in found["Rome"].problems[0]
    assert Counter(each.outcome for each in found.values()) == {"right": 7, "error": 1}
    assert runner.progress.failed == []


async def test_what_a_server_refuses_is_an_error_at_once(tmp_path):
    said = iter(["Warm."])
    backend = ScriptedBackend(lambda prompt: next(said, None) or BackendRejected("no"))
    _, result = await one(tmp_path, backend, CASES[0])
    assert (result.outcome, result.retries, result.error) == ("error", 0, "BackendRejected: no")


async def test_a_server_that_is_gone_is_left_for_another_run(tmp_path):
    backend = Oracle()
    answer = backend._answer

    def dying(prompt):
        if len(backend.prompts) > 4:
            backend.sick = BackendUnreachable("gone for good")
            return backend.sick
        return answer(prompt)

    backend._make = dying
    runner = await run(tmp_path, groups_of(), CASES, Plan(), backend)
    assert runner.progress.failed == ["m: gone for good"]
    assert [result.outcome for result in read(tmp_path)] == ["right"] * 3
    runner = await run(tmp_path, groups_of(), CASES, Plan(), Oracle())
    assert runner.progress.done == runner.progress.total == len(CASES)
    assert {result.outcome for result in read(tmp_path)} == {"right"}


async def test_a_first_question_that_fails_is_no_matter(tmp_path):
    oracle = Oracle()
    said = iter([BackendRejected("cold")])
    backend = ScriptedBackend(lambda prompt: next(said, None) or oracle._answer(prompt))
    runner = await run(tmp_path, groups_of(), CASES, Plan(), backend)
    assert runner.progress.outcomes == {"right": len(CASES)}


@pytest.mark.parametrize(
    ("backend", "settings", "wanted"),
    [
        ("llamacpp", {}, 5),
        ("openai-chat", {}, 5),
        ("llamacpp", {"concurrency": 2}, 2),
        ("openai", {"model": "x"}, 8),
    ],
)
async def test_the_places_of_a_server_are_those_that_it_tells(backend, settings, wanted):
    def answer(request):
        return httpx.Response(200, json={"total_slots": 5})

    settings = ModelSettings(backend=backend, url="http://127.0.0.1:1", **settings)
    kind = {"llamacpp": LlamaCppBackend, "openai-chat": ChatBackend, "openai": OpenAIBackend}
    opened = kind[backend]("m", settings, httpx.MockTransport(answer))
    assert await places(opened, settings) == wanted
    await opened.aclose()


async def test_results_that_cannot_be_written_end_the_run(tmp_path, monkeypatch):
    from llmgate.bench import journal

    async def full(self, told):
        raise LlmgateError("can't write")

    monkeypatch.setattr(journal.Journal, "add", full)
    backend = Oracle()
    with pytest.raises(LlmgateError, match="can't write"):
        await run(tmp_path, groups_of(), CASES, Plan(), backend)
    assert backend.closed == 1


async def test_a_conversation_goes_on_with_what_the_tools_returned(tmp_path):
    more = (Message("user", "The weather in Rome?"),)
    case = asks_on("Paris", weather("Rome").expect, "Rain, 4 degrees.", messages=more)
    backend = Oracle()
    _, result = await one(tmp_path, backend, case)
    assert result.outcome == "right"
    assert "Rain, 4 degrees." in result.prompt
    assert [call.arguments for call in result.calls] == ['{"city": "Rome"}']
    assert len(backend.prompts) == 3


async def test_a_conversation_ends_with_the_first_wrong_answer(tmp_path):
    more = (Message("user", "The weather in Rome?"),)
    case = asks_on("Paris", weather("Oslo").expect, "Rain.", messages=more)
    _, result = await one(tmp_path, Oracle(), case)
    assert result.outcome == "wrong_arguments"
    assert result.problems[0].startswith("turn 2: ")


async def test_tokens_and_time_of_all_turns_are_added_up(tmp_path):
    case = asks_on("Paris", Expect("no_call"), "Rain.")
    backend = Oracle()
    _, result = await one(tmp_path, backend, case)
    words = sum(len(prompt.text.split()) for prompt in backend.prompts[1:])
    assert abs(result.tokens_in - words) <= 4


async def test_native_is_asked_with_messages(tmp_path):
    groups = matrix(
        Settings(models={"m": ModelSettings(backend="llamacpp", url="http://127.0.0.1:1")}),
        Choice(wrappers=("chatml",), constraints=("off",), native=True),
    )[0]
    backend = ScriptedBackend(lambda request: "Who knows.", caps=Caps(chat=True))
    runner = await run(tmp_path, groups, CASES, Plan(), backend)
    found = list(read(tmp_path))
    assert {result.cell.constraint for result in found} == {"native"}
    assert found[0].outcome == "missing_call"
    assert '"The weather in Paris?"' in found[0].prompt
    assert found[0].output == "Who knows."
    assert any("--native" in line for line in runner.progress.left_out)
    assert backend.requests[-1].messages[0].content.startswith("Conversation ")


async def test_what_a_cache_gave_is_counted_where_somebody_counts(tmp_path):
    from llmgate.types import Delta

    last = Delta(finish="stop", usage=Usage(9, 2, 4))
    backend = ScriptedBackend(lambda prompt: ["Hello.", last])
    case = Case("c", (Message("user", "Hi"),), Expect("no_call"), suite="s")
    _, result = await one(tmp_path, backend, case)
    assert (result.tokens_in, result.tokens_out, result.cached) == (9, 2, 4)
