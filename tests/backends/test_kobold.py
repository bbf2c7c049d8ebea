"""KoboldCpp's own traps, over the made-up server that has them."""

from __future__ import annotations

import asyncio
import logging

import pytest
from asking import CAPITAL, GREEDY, answer, endless, text
from wire_servers.base import Asked, Reply, event
from wire_servers.kobold import KoboldServer

from llmgate.backends.kobold import AnswerReader, body_of
from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendRejected,
    BackendUnreachable,
    ContextOverflow,
)
from llmgate.types import Delta, Prompt, Sampling, Usage

PARIS = "The capital of France is Paris."
HI = Prompt("hi", sampling=Sampling(max_tokens=10))


def saying(*events: object):
    """A fault: these events in place of the answer."""

    def fault(asked: Asked, reply: Reply) -> Reply:
        reply.frames = [event(one, "message") for one in events]
        return reply

    return fault


def token(text: str, finish: str | None = None) -> dict:
    return {"token": text, "finish_reason": finish}


async def test_its_own_field_names_are_sent():
    server = KoboldServer()
    async with server.opened(extra={"mirostat": 2}) as backend:
        sampling = Sampling(7, 0.5, 0.9, 40, 0.05, 1.1, 0.1, None, 41)
        await answer(backend, Prompt("hi", ("x", ""), 'root ::= "a"', sampling))
        body = server.body
    assert body.pop("genkey").startswith("llmgate-")
    assert body == {
        "prompt": "hi",
        "max_context_length": 2048,
        "max_length": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "rep_pen": 1.1,
        "presence_penalty": 0.1,
        "sampler_seed": 42,
        "stop_sequence": ["x"],
        "grammar": 'root ::= "a"',
        "trim_stop": False,
        "replace_instruct_placeholders": False,
        "mirostat": 2,
    }


def test_every_request_has_a_key_of_its_own():
    assert body_of(HI, None)["genkey"] != body_of(HI, None)["genkey"]


@pytest.mark.parametrize("seed", [-1, 0, 1, 2**31, 2**32 - 1, 2**40])
async def test_every_seed_is_one_that_the_server_knows(seed):
    server = KoboldServer()
    async with server.opened() as backend:
        await answer(backend, Prompt("hi", sampling=Sampling(max_tokens=5, seed=seed)))
    assert 1 <= server.body["sampler_seed"] < 2**31


async def test_what_it_has_no_field_for_is_noted():
    async with KoboldServer().opened() as backend:
        got = await answer(backend, Prompt("hi", sampling=Sampling(5, frequency_penalty=0.5)))
    assert [(note.code, note.message) for note in got.notes] == [
        ("ignored_parameter", "KoboldCpp has no frequency_penalty.")
    ]


async def test_a_stop_string_is_stop_although_the_server_says_length():
    server = KoboldServer()
    async with server.opened() as backend:
        got = await answer(backend, Prompt(CAPITAL, stop=("ance is Pa",), sampling=GREEDY))
        assert (got.message.content, got.finish) == ("The capital of Fr", "stop")
        assert server.perf["stop_reason"] == 2


async def test_the_reason_of_its_last_answer_counts_more_than_the_event():
    server = KoboldServer()
    server.fault = saying(token("a"), token("", "length"))
    async with server.opened() as backend:
        server.perf |= {"stop_reason": 2, "last_seed": 6, "last_token_count": 1}
        got = await answer(backend, Prompt("hi", sampling=Sampling(max_tokens=10, seed=5)))
    assert (got.finish, got.usage) == ("stop", Usage(0, 1))


async def test_the_counts_of_somebody_elses_answer_are_not_taken():
    server = KoboldServer()
    server.fault = saying(token("a"), token("", "length"))
    async with server.opened() as backend:
        server.perf |= {"stop_reason": 1, "last_seed": 77, "last_token_count": 99}
        got = await answer(backend, Prompt("hi", sampling=Sampling(max_tokens=10, seed=5)))
    assert (got.finish, got.usage) == ("length", Usage())


async def test_an_answer_stands_without_its_counts():
    class Older(KoboldServer):
        def routes(self):
            hidden = ("/api/extra/perf", "/props", "/api/extra/true_max_context_length")
            return {key: one for key, one in super().routes().items() if key[1] not in hidden}

    async with Older().opened() as backend:
        got = await answer(backend, Prompt(CAPITAL, sampling=GREEDY))
        assert (backend.caps.context, backend.caps.template) == (None, None)
    assert (got.message.content, got.finish, got.usage) == (PARIS, "stop", Usage())


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([token("The"), token("", "error")], "failed while it wrote"),
        ([token("", "error")], "failed while it wrote"),
        ([token("", "stop")], "before it began"),
        ([token("", "length")], "before it began"),
        ([token("The capital")], "ended in the middle of an answer"),
        ([], "ended in the middle of an answer"),
        ([token("a"), {"error": "out of memory"}], "out of memory"),
    ],
)
async def test_what_is_no_answer_is_an_error(events, problem):
    server = KoboldServer()
    server.fault = saying(*events)
    async with server.opened() as backend:
        with pytest.raises(BackendError, match=problem) as caught:
            await answer(backend, HI)
        assert server.url in str(caught.value)


async def test_a_busy_server_is_busy():
    server = KoboldServer()
    server.busy = True
    async with server.opened() as backend:
        with pytest.raises(BackendBusy, match="try again later"):
            await answer(backend, HI)


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (503, "You are sending requests too quickly. Please try again in 3 seconds.", BackendBusy),
        (401, "Authentication key is missing or invalid.", BackendRejected),
        (500, "Error parsing input.", BackendError),
    ],
)
async def test_its_errors_are_read(status, message, error):
    server = KoboldServer()
    server.fault = lambda asked, reply: server.error(status, message)
    async with server.opened() as backend:
        with pytest.raises(error) as caught:
            await answer(backend, HI)
    assert message in str(caught.value)


async def test_a_long_answer_takes_nothing_from_the_prompt():
    server = KoboldServer()
    async with server.opened() as backend:
        prompt = "garden " * 900
        await answer(backend, Prompt(prompt, sampling=Sampling(max_tokens=4000)))
        assert server.cut == 0
        assert server.body["max_length"] == 2048 - await backend.count(prompt) - 2
        await answer(backend, Prompt(prompt))
        assert server.cut == 0


async def test_a_prompt_that_leaves_no_room_is_refused_before_it_is_sent():
    server = KoboldServer()
    async with server.opened(context=512) as backend:
        asked = server.paths().count(server.answers[0])
        with pytest.raises(ContextOverflow, match=r"tokens, the model's context holds 512"):
            await answer(backend, Prompt("garden " * 600))
        assert server.paths().count(server.answers[0]) == asked
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        assert server.body["max_context_length"] == 512


async def test_a_short_prompt_is_not_counted():
    server = KoboldServer()
    async with server.opened() as backend:
        await answer(backend, HI)
    assert "/api/extra/tokencount" not in server.paths()


async def test_a_text_that_is_too_long_to_be_counted_is_counted_in_parts():
    async with KoboldServer().opened() as backend:
        assert await backend.count("to be " * 30_000) >= 60_000
        assert await backend.count("") == 0


async def test_a_client_that_leaves_ends_the_answer():
    server = KoboldServer()
    async with server.opened() as backend:
        deltas = backend.complete(endless())
        await anext(deltas)
        await deltas.aclose()
        async with asyncio.timeout(5):
            await server.left.wait()
    assert server.aborted == [server.body["genkey"]]


async def test_control_tokens_are_shown_where_they_are_needed_but_not_the_last():
    server = KoboldServer()
    async with server.opened() as backend:
        assert await text(backend, Prompt(CAPITAL, preserved=("<tool>",), sampling=GREEDY)) == PARIS
        assert server.body["render_special"] is True
        kept = Prompt(CAPITAL, preserved=("</s>",), sampling=GREEDY)
        assert await text(backend, kept) == f"{PARIS}</s>"
        assert await text(backend, Prompt(CAPITAL, sampling=GREEDY)) == PARIS
        assert "render_special" not in server.body


@pytest.mark.parametrize(
    ("pieces", "finish", "said"),
    [
        (["a", "</s>"], "stop", "a"),
        (["a</s>"], "stop", "a"),
        (["a", "</s>"], "length", "a</s>"),
        (["a", "</s>", "b"], "stop", "a</s>b"),
        (["a", "</call>", "<|im_end|>"], "stop", "a</call>"),
        (["<|im_end|>"], "stop", ""),
    ],
)
def test_only_the_token_that_ends_an_answer_is_left_out(pieces, finish, said):
    reader = AnswerReader("there", ["</s>", "<|im_end|>"])
    deltas = [delta for piece in pieces for delta in reader.take(token(piece))]
    deltas += reader.take(token("", finish))
    assert "".join(delta.text for delta in deltas) == said


def test_the_last_piece_may_come_with_the_end():
    reader = AnswerReader("there")
    assert reader.take(token("a", "stop")) == [Delta("a")]
    assert (reader.finish, reader.complete) == ("stop", True)


async def test_a_server_that_ignores_grammars_is_found_out(caplog):
    class Careless(KoboldServer):
        def reply(self, asked):
            asked.body = asked.body.replace(b'"grammar"', b'"ignored"')
            return super().reply(asked)

    with caplog.at_level(logging.WARNING):
        async with Careless().opened() as backend:
            assert not backend.caps.grammar
    assert "does not hold to grammars" in caplog.text


async def test_a_server_without_a_model_is_not_well():
    server = KoboldServer()
    async with server.opened() as backend:
        assert await backend.models() == ("koboldcpp/tiny",)
        assert await backend.health() is None
        server.name = "inactive"
        assert await backend.models() == ()
        with pytest.raises(BackendUnreachable, match="no model loaded"):
            await backend.health()
