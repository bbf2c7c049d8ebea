"""Counting tokens: bounds that hold, exact numbers where there are any, guesses that say so."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from engines import needs_engine
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends import open_backend
from llmgate.backends.scripted import ScriptedBackend
from llmgate.config import ModelSettings, tiktoken_words
from llmgate.errors import BackendUnreachable
from llmgate.gateway import tokens
from llmgate.types import Caps


@given(st.text(max_size=300))
def test_a_guess_stays_below_what_is_possible(text):
    assert 1 <= tokens.estimate(text) <= tokens.at_most(text)


@needs_engine
async def test_no_real_tokenizer_needs_more_tokens_than_the_bound():
    backend = open_backend("tiny", ModelSettings(threads=1))
    try:
        for text in ("", "a", "x" * 500, "日本語 ", "\U0001f600\u0301" * 50, "\x00\xff\n\t " * 30):
            exact = await tokens.count(backend, text)
            assert exact.exact
            assert exact.tokens <= tokens.at_most(text)
    finally:
        await backend.aclose()


async def test_a_tokenizer_that_does_not_answer_is_replaced_by_a_guess():
    class Silent(ScriptedBackend):
        async def count(self, text: str) -> int:
            raise BackendUnreachable("gone")

    assert await tokens.count(Silent(), "some words") == tokens.Count(
        tokens.estimate("some words"), exact=False
    )
    nobody = ScriptedBackend(caps=Caps())
    assert not (await tokens.count(nobody, "some words")).exact


def test_tiktoken_is_found_where_it_keeps_its_files():
    source = "https://example.org/words"
    name = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    assert tiktoken_words(source, {"TIKTOKEN_CACHE_DIR": "/a"}).as_posix() == f"/a/{name}"
    assert tiktoken_words(source, {"DATA_GYM_CACHE_DIR": "/b"}).as_posix() == f"/b/{name}"
    assert tiktoken_words(source, {}).name == name


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_tiktoken_never_gets_to_ask_the_network(tmp_path, content):
    pytest.importorskip("tiktoken")
    if content is not None:
        tiktoken_words(tokens._SOURCE, {"TIKTOKEN_CACHE_DIR": str(tmp_path)}).write_bytes(content)
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('it asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from llmgate.gateway.tokens import estimate\n"
        "print(estimate('some words and more'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"TIKTOKEN_CACHE_DIR": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert int(run.stdout) > 0
