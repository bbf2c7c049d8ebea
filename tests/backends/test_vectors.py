"""Embeddings: of servers, in every shape they use, and of the model in process."""

from __future__ import annotations

import base64
import math
from array import array

import httpx
import pytest
from engines import needs_engine
from made_up import Server, backend_of

from llmgate.backends import open_backend
from llmgate.backends.vectors import read
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, BackendRejected, ContextOverflow, Unsupported
from llmgate.types import Prompt, Usage

PACKED = base64.b64encode(array("f", [0.5, 1.0]).tobytes()).decode()
SHAPES = [
    {"data": [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [0.5, 1.0]}]},
    {"data": [{"index": 0, "embedding": PACKED}, {"index": 1, "embedding": [3, 4.5]}]},
    {"data": [{"index": 0, "embedding": [[0.5, 1]]}, {"index": 1, "embedding": [[3, 4.5]]}]},
    {"embeddings": [[0.5, 1.0], [3, 4.5]]},
]


def dot(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("reply", SHAPES)
def test_every_shape_is_read(reply):
    assert read(reply, ["a", "b"]).vectors == ((0.5, 1.0), (3.0, 4.5))


def test_tokens_are_counted_where_they_are_told():
    reply = {**SHAPES[3], "prompt_eval_count": 7}
    assert read(reply, ["a", "b"]).usage == Usage(prompt=7)
    reply = {**SHAPES[0], "usage": {"prompt_tokens": 9}}
    assert read(reply, ["a", "b"]).usage == Usage(prompt=9)


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ({}, "0 vectors for 2"),
        ({"data": [{"embedding": [1.0]}]}, "1 vectors for 2"),
        ({"embeddings": [[1.0], [1.0, 2.0]]}, r"sizes \[1, 2\]"),
        ({"embeddings": [[], []]}, "sizes"),
        ({"embeddings": [[1.0], ["x"]]}, "can't be read"),
        ({"embeddings": [[1.0], [True]]}, "can't be read"),
        ({"embeddings": [[1.0], None]}, "can't be read"),
        ({"data": [{"embedding": "!"}, {"embedding": PACKED}]}, "can't be read"),
        ({"data": [{"embedding": "AAA="}, {"embedding": PACKED}]}, "can't be read"),
    ],
)
def test_half_an_answer_is_none(reply, complaint):
    with pytest.raises(BackendError, match=complaint):
        read(reply, ["a", "b"])


async def test_a_server_is_asked_for_vectors():
    def respond(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/embeddings"
        return httpx.Response(200, json=SHAPES[0])

    server = Server(respond)
    backend = backend_of(server, model="nomic", extra={"truncate": False})
    assert len((await backend.embed(["a", "b"])).vectors) == 2
    assert server.body == {"model": "nomic", "input": ["a", "b"], "truncate": False}
    await backend.aclose()


async def test_a_server_without_them_says_so():
    error = {"error": {"code": 501, "message": "start it with --embeddings", "type": "x"}}
    backend = backend_of(Server(lambda request: httpx.Response(501, json=error)))
    with pytest.raises(BackendRejected, match="start it with --embeddings"):
        await backend.embed(["a"])
    await backend.aclose()


@needs_engine
async def test_a_model_in_process_makes_vectors_of_length_one():
    backend = open_backend("vectors", ModelSettings(embedding=True, threads=1))
    texts = ["What is the weather in Paris?", "The weather in Paris?", "xyzzy 42"]
    try:
        made = await backend.embed(texts)
        assert backend.caps.embed
        assert not backend.caps.grammar
        assert {len(vector) for vector in made.vectors} == {len(made.vectors[0])}
        for vector in made.vectors:
            assert math.isclose(math.hypot(*vector), 1.0, rel_tol=1e-5)
        same = (await backend.embed(texts[:1])).vectors[0]
        assert same == pytest.approx(made.vectors[0], abs=1e-5)
        near, far = (dot(made.vectors[0], other) for other in made.vectors[1:])
        assert near > far
        assert made.usage.prompt > 10
        with pytest.raises(ContextOverflow, match="Text number 2 has"):
            await backend.embed(["a", "word " * 5_000])
        with pytest.raises(Unsupported, match="can't continue a text"):
            await anext(backend.complete(Prompt("hi")))
    finally:
        await backend.aclose()


@needs_engine
async def test_a_model_for_texts_makes_none():
    backend = open_backend("tiny", ModelSettings(threads=1))
    with pytest.raises(Unsupported, match="embedding = true"):
        await backend.embed(["a"])
    await backend.aclose()
