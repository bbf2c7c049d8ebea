"""Bodies of `/v1/embeddings`, both ways."""

from __future__ import annotations

import base64
import json
import math
from array import array

import pytest

from llmgate.errors import RequestError, Unsupported
from llmgate.types import Embeddings, Note, Usage
from llmgate.wire.embeddings import Asked, answer, decode

MADE = Embeddings(((0.6, 0.8), (1.0, 0.0)), Usage(prompt=5))


def asked(**body: object) -> Asked:
    return decode(json.dumps({"model": "m", **body}).encode())


def test_one_text_or_several_are_understood():
    assert asked(input="a") == Asked("m", ("a",))
    assert asked(input=["a", "b"], encoding_format="base64", user="u") == Asked(
        "m", ("a", "b"), base64=True
    )


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "input"),
        ({"input": []}, "is empty"),
        ({"input": ["a", " "]}, "number 2 of `input` is empty"),
        ({"input": ""}, "is empty"),
        ({"input": 3}, "input"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": ["a"] * 2049}, "2049 texts; at most 2048"),
    ],
)
def test_what_can_not_be_answered_is_refused(body, complaint):
    with pytest.raises(RequestError, match=complaint):
        asked(**body)


@pytest.mark.parametrize("tokens", [[1, 2], [[1], [2]]])
def test_token_numbers_are_refused_with_what_to_do(tokens):
    with pytest.raises(Unsupported, match="check_embedding_ctx_length=False"):
        asked(input=tokens)


def test_an_answer_has_a_vector_for_each_text():
    whole = answer(Asked("m", ("a", "b")), MADE)
    assert whole["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert [(entry["index"], entry["embedding"]) for entry in whole["data"]] == [
        (0, (0.6, 0.8)),
        (1, (1.0, 0.0)),
    ]
    assert "llmgate" not in whole


def test_vectors_are_packed_where_that_was_asked_for():
    whole = answer(Asked("m", ("a", "b"), base64=True), MADE)
    assert array("f", base64.b64decode(whole["data"][1]["embedding"])).tolist() == [1.0, 0.0]


def test_shorter_vectors_have_length_one_again_and_a_note():
    whole = answer(Asked("m", ("a", "b"), dimensions=1), MADE)
    assert [entry["embedding"] for entry in whole["data"]] == [(1.0,), (1.0,)]
    assert whole["llmgate"]["notes"][0].code == "truncated"
    assert math.isclose(whole["data"][0]["embedding"][0], 1.0)
    with pytest.raises(RequestError, match="have 2 dimensions, not 3"):
        answer(Asked("m", ("a", "b"), dimensions=3), MADE)


def test_notes_come_with_the_answer():
    made = Embeddings(MADE.vectors, MADE.usage, (Note("fallback", "x"),))
    assert answer(Asked("m", ("a", "b")), made)["llmgate"]["notes"] == (Note("fallback", "x"),)
