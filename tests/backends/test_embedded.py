"""The embedded engine's process: what it survives, and what it leaves behind."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import random
import signal
import subprocess
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from asking import CAPITAL, GREEDY, answer, endless, noise, text
from engines import needs_engine

from benchmarks.models import random_model
from llmgate import grammar, resources
from llmgate.backends import process
from llmgate.backends.embedded import EmbeddedBackend
from llmgate.config import ModelSettings, Timeouts
from llmgate.errors import (
    BackendBusy,
    BackendTimeout,
    BackendUnreachable,
    ConfigError,
    ContextOverflow,
    GrammarError,
    MissingPackage,
    RequestError,
)
from llmgate.types import Prompt, Sampling

pytestmark = needs_engine
PARIS = "The capital of France is Paris."


@asynccontextmanager
async def embedded(**settings):
    backend = EmbeddedBackend.open("tiny", ModelSettings(**{"threads": 1, **settings}))
    try:
        yield backend
    finally:
        await backend.aclose()


@pytest.fixture
def spawned(monkeypatch):
    """The processes that were started."""
    made = []
    spawn = process.Worker.spawn

    async def spy(load):
        worker = await spawn(load)
        made.append(SimpleNamespace(pid=worker.pid, load=load, kill=worker.kill))
        return worker

    monkeypatch.setattr(process.Worker, "spawn", spy)
    return made


def exists(pid: int) -> bool:
    """Whether the process exists, zombies included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def descriptors() -> int:
    """The number of this process's open files."""
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0


async def test_killed_in_the_middle_of_an_answer_it_says_so_and_starts_again(spawned):
    async with embedded() as backend:
        async with aclosing(backend.complete(endless())) as deltas:
            await anext(deltas)
            os.kill(spawned[-1].pid, signal.SIGKILL)
            with pytest.raises(BackendUnreachable, match="SIGKILL"):
                async for _ in deltas:
                    pass
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        assert not exists(spawned[-2].pid)


async def test_a_death_hits_only_the_request_that_was_answered(spawned):
    async with embedded() as backend:
        deltas = backend.complete(endless())
        await anext(deltas)
        waiting = [
            asyncio.create_task(text(backend, Prompt(CAPITAL, sampling=GREEDY))) for _ in range(3)
        ]
        await asyncio.sleep(0)
        spawned[-1].kill()
        with pytest.raises(BackendUnreachable):
            async for _ in deltas:
                pass
        assert await asyncio.gather(*waiting) == [PARIS] * 3


async def test_a_death_while_idle_is_not_noticed_by_anyone(spawned):
    async with embedded() as backend:
        for _ in range(3):
            await backend.start()
            os.kill(spawned[-1].pid, signal.SIGKILL)
            assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_a_full_queue_is_busy_before_the_first_delta():
    async with embedded(queue=1) as backend:
        async with aclosing(backend.complete(endless())) as deltas:
            await anext(deltas)
            waiting = asyncio.create_task(text(backend, Prompt(CAPITAL, sampling=GREEDY)))
            await asyncio.sleep(0)
            with pytest.raises(BackendBusy) as caught:
                await answer(backend, Prompt(CAPITAL))
            assert caught.value.retry_after >= 1
        assert await waiting == PARIS


async def test_requests_are_answered_in_their_order():
    async with embedded() as backend:
        done = []

        async def ask(number: int) -> None:
            await answer(backend, noise())
            done.append(number)

        await asyncio.gather(*(ask(number) for number in range(6)))
        assert done == list(range(6))


async def test_a_closed_answer_stops_and_does_not_hold_up_the_next(tmp_path):
    # An answer of 32,000 tokens: the second request times out unless the first one stops.
    model = random_model(tmp_path / "long.gguf", 1, metadata={"llama.context_length": 32768})
    timeouts = Timeouts(first_token=10.0)
    async with embedded(path=str(model), context=32768, timeouts=timeouts) as backend:
        for _ in range(3):
            deltas = backend.complete(endless())
            await anext(deltas)
            await deltas.aclose()
        got = await answer(backend, Prompt("a", grammar='root ::= "b"'))
        assert (got.message.content, got.finish) == ("b", "stop")


async def test_a_storm_of_cancels_leaves_a_working_backend():
    async with embedded(queue=100) as backend:
        dice = random.Random(5)

        async def impatient(pieces: int) -> None:
            async with aclosing(backend.complete(endless(max_tokens=50))) as deltas:
                for _ in range(pieces):
                    await anext(deltas)

        tasks = [asyncio.create_task(impatient(dice.randrange(5))) for _ in range(50)]
        for task in dice.sample(tasks, 25):
            await asyncio.sleep(0.005)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_tokens_are_counted_while_an_answer_runs():
    async with embedded() as backend, aclosing(backend.complete(endless())) as deltas:
        await anext(deltas)
        assert await backend.count("<|im_start|>user") == 2
        assert (await anext(deltas)).text


async def test_concurrent_starts_share_one_process(spawned):
    async with embedded() as backend:
        await asyncio.gather(*(backend.start() for _ in range(5)), backend.health())
        # Two of them where the first one crashed, see the test about extra buffers.
        assert len([worker for worker in spawned if exists(worker.pid)]) == 1


async def test_closing_leaves_no_process_and_no_open_file(spawned):
    async with embedded() as backend:
        await backend.start()
    before = descriptors()
    for _ in range(3):
        async with embedded() as backend:
            await answer(backend, noise())
        await backend.aclose()
    assert not any(exists(worker.pid) for worker in spawned)
    assert descriptors() == before
    assert {task.get_name() for task in asyncio.all_tasks()} == {asyncio.current_task().get_name()}


async def test_closing_ends_what_runs_and_refuses_more():
    async with embedded() as backend:
        deltas = backend.complete(endless())
        await anext(deltas)
        await backend.aclose()
        with pytest.raises(BackendUnreachable, match="gone"):
            async for _ in deltas:
                pass
        with pytest.raises(BackendUnreachable, match="closed"):
            await backend.start()


async def test_closing_while_it_starts_is_safe(spawned):
    async with embedded() as backend:
        start = asyncio.create_task(backend.start())
        await asyncio.sleep(0.05)
        await backend.aclose()
        with pytest.raises(BackendUnreachable):
            await start
    assert not any(exists(worker.pid) for worker in spawned)


async def test_a_start_that_nobody_waits_for_goes_on():
    async with embedded() as backend:
        first = asyncio.create_task(backend.start())
        await asyncio.sleep(0.05)
        first.cancel()
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_silence_beyond_the_timeout_ends_the_process(spawned):
    async with embedded(timeouts=Timeouts(between_tokens=2.0)) as backend:
        deltas = backend.complete(endless())
        await anext(deltas)
        os.kill(spawned[-1].pid, signal.SIGSTOP)
        with pytest.raises(BackendTimeout, match="2 seconds"):
            async for _ in deltas:
                pass
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_a_huge_prompt_is_refused_while_other_things_go_on():
    async with embedded() as backend:
        await backend.start()
        huge = asyncio.create_task(answer(backend, Prompt("word " * 1_000_000)))
        turns = 0
        while not huge.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert isinstance(huge.exception(), ContextOverflow)
        assert turns > 20
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_long_prompts_are_reused_exactly_under_a_seed():
    async with embedded() as backend:
        prompt = "The garden is green. " * 150
        seeded = Sampling(seed=1, temperature=1.5, max_tokens=20)
        first = await answer(backend, Prompt(prompt, sampling=seeded))
        again = await answer(backend, Prompt(prompt, sampling=seeded))
        assert first.usage.prompt > 600
        assert (first.usage.cached, again.usage.cached) == (0, first.usage.prompt // 512 * 512)
        assert again.message == first.message


async def test_a_bos_token_is_added_once_where_the_model_wants_it(tmp_path):
    model = random_model(
        tmp_path / "bos.gguf",
        1,
        metadata={"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 1},
    )
    one = Sampling(max_tokens=1)
    async with embedded(path=str(model)) as backend:
        for prompt in ("garden", "<|im_start|>garden"):
            got = await answer(backend, Prompt(prompt, sampling=one))
            assert got.usage.prompt == await backend.count("garden") + 1
    async with embedded() as backend:
        got = await answer(backend, Prompt("garden", sampling=one))
        assert got.usage.prompt == await backend.count("garden")


async def test_an_empty_prompt_becomes_bos_or_is_refused():
    async with embedded() as backend:
        got = await answer(backend, Prompt("", grammar='root ::= "a"'))
        assert (got.message.content, got.usage.prompt) == ("a", 1)


async def test_half_a_surrogate_pair_is_the_clients_fault():
    async with embedded() as backend:
        with pytest.raises(RequestError, match="Unicode"):
            await answer(backend, Prompt("\ud83d"))
        with pytest.raises(RequestError, match="Unicode"):
            await backend.count("\ud83d")


async def test_control_tokens_other_than_the_ends_are_visible():
    held = 'root ::= "a" "<|im_start|>" "b"'
    async with embedded() as backend:
        got = await text(backend, Prompt(CAPITAL, grammar=held, sampling=GREEDY))
        assert got == "a<|im_start|>b"


@pytest.mark.parametrize(
    "bad", ['root ::= "a', "root ::= nothing", 'root ::= root "a"', "root ::= \0", ""], ids=repr
)
async def test_a_grammar_that_only_the_engine_refuses_is_a_clear_error(monkeypatch, bad):
    monkeypatch.setattr(grammar, "check", lambda text: None)
    async with embedded() as backend:
        with pytest.raises((GrammarError, BackendUnreachable)):
            await answer(backend, Prompt("a", grammar=bad))
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS


async def test_the_context_in_the_settings_holds_and_beyond_training_is_noted(caplog):
    async with embedded(context=100) as backend:
        await backend.start()
        assert backend.caps.context == 100
        with pytest.raises(ContextOverflow, match="at most 99"):
            await answer(backend, Prompt("garden " * 200))
        got = await answer(backend, endless(max_tokens=None))
        assert got.finish == "length"
        assert got.usage.prompt + got.usage.completion == 100
    assert "trained" not in caplog.text
    async with embedded(context=4096) as backend:
        await backend.start()
        assert backend.caps.context == 4096
    assert "trained for a context of 2048 tokens and runs with 4096" in caplog.text


async def test_a_crash_before_it_is_ready_is_tried_again_without_extra_buffers(
    monkeypatch, spawned, caplog
):
    crash = "import os, sys; os.kill(os.getpid(), 11)"
    program = process.PROGRAM
    real = process.Worker.spawn

    async def spawn(load):
        monkeypatch.setattr(process, "PROGRAM", crash if load.extra_buffers else program)
        return await real(load)

    monkeypatch.setattr(process.Worker, "spawn", spawn)
    async with embedded() as backend:
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        spawned[-1].kill()
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        assert [worker.load.extra_buffers for worker in spawned] == [True, False, False]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "SIGSEGV" in warnings[0].getMessage()


async def test_a_process_that_always_crashes_is_started_twice_per_request(monkeypatch, spawned):
    crash = "import os, sys; print('the reason', file=sys.stderr, flush=True); os.abort()"
    monkeypatch.setattr(process, "PROGRAM", crash)
    async with embedded() as backend:
        for number in (1, 2):
            with pytest.raises(BackendUnreachable, match=r"SIGABRT.*the reason"):
                await answer(backend, Prompt("a"))
            assert len(spawned) == 2 * number
        with pytest.raises(BackendUnreachable, match="SIGABRT"):
            await backend.health()
        assert len(spawned) == 4


async def test_a_truncated_model_fails_with_a_sentence_and_can_be_mended(tmp_path, spawned):
    path = tmp_path / "model.gguf"
    whole = resources.default_model().read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    async with embedded(path=str(path)) as backend:
        for ask in (backend.start, lambda: answer(backend, Prompt("a")), backend.health):
            with pytest.raises(BackendUnreachable, match=r"can't load .*model\.gguf") as caught:
                await ask()
            assert "Traceback" not in str(caught.value)
        assert len(spawned) == 2
        path.write_bytes(whole)
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        await backend.health()


def test_a_file_that_is_no_model_is_refused_at_once(tmp_path):
    text_file = tmp_path / "notes.gguf"
    text_file.write_text("These are notes.")
    for path, problem in (
        (tmp_path / "none.gguf", "does not exist"),
        (tmp_path, "is a folder"),
        (text_file, "not a GGUF file"),
    ):
        with pytest.raises(ConfigError, match=problem) as caught:
            EmbeddedBackend.open("mine", ModelSettings(path=str(path)))
        assert str(path) in str(caught.value)
        assert "'mine'" in str(caught.value)


def test_without_the_engine_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"llmgate\[embedded\]"):
        EmbeddedBackend.open("mine", ModelSettings())


def test_the_gateway_never_imports_the_engine():
    program = (
        "import sys, llmgate.backends.embedded; "
        "sys.exit(any(name.split('.')[0] in ('llama_cpp', 'numpy') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=_environment())


def test_when_the_gateway_dies_its_process_ends_too():
    program = (
        "import asyncio, os, sys\n"
        "from llmgate.backends.embedded import EmbeddedBackend\n"
        "from llmgate.config import ModelSettings\n"
        "async def main():\n"
        "    backend = EmbeddedBackend.open('tiny', ModelSettings(threads=1))\n"
        "    await backend.start()\n"
        "    print(backend._worker.pid, flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
    ) as gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        assert exists(pid)
        gateway.kill()
        # The worker inherited nothing of this pipe but its end: EOF comes when it is gone.
        gateway.stdout.read()
    assert _gone(pid)


async def _ask_under_uvloop() -> str:
    async with embedded() as backend:
        deltas = backend.complete(endless())
        await anext(deltas)
        await deltas.aclose()
        return await text(backend, Prompt(CAPITAL, sampling=GREEDY))


def test_it_runs_under_uvloop_too():
    uvloop = pytest.importorskip("uvloop")
    assert uvloop.run(_ask_under_uvloop()) == PARIS


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def _gone(pid: int) -> bool:
    """Whether the process ends soon. An orphan may stay as a zombie where nobody reaps it."""
    for _ in range(1000):
        state = Path(f"/proc/{pid}/stat")
        if not exists(pid) or (state.exists() and state.read_text().split()[2] == "Z"):
            return True
        os.sched_yield()
        subprocess.run([sys.executable, "-c", ""], check=True)
    return False


async def test_control_tokens_do_not_get_into_strings_that_a_grammar_holds(tmp_path):
    weights = random_model(tmp_path / "random.gguf", seed=3)
    backend = EmbeddedBackend.open("m", ModelSettings(path=str(weights), threads=1))
    grammar = r'root ::= "\"" [^"\\\x00-\x1F]{300,400} "\""'
    try:
        for seed in range(8):
            sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed)
            prompt = Prompt("x", grammar=grammar, sampling=sampling)
            text = "".join([delta.text async for delta in backend.complete(prompt)])
            assert text.endswith('"')
            assert "<|im_start|>" not in text
    finally:
        await backend.aclose()


async def test_half_a_character_at_the_token_limit_is_no_text():
    """No token has the whole character, so that limits come in the middle of one."""
    async with embedded() as backend:
        for limit in range(1, 8):
            held = Sampling(max_tokens=limit, temperature=0.0)
            got = await text(backend, Prompt("Hi", grammar='root ::= "\u2b6f"{4}', sampling=held))
            assert got == "\u2b6f" * (limit // 3)
