"""An agent's prompts against a real llama-server: what it has read once it does not read again."""

from __future__ import annotations

import argparse

import pytest
from engines import needs_server

from benchmarks import prefix
from benchmarks.models import random_model
from benchmarks.servers import llama_server

CONTEXT = 16_000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "narrow.gguf"
    metadata = {"llama.context_length": CONTEXT}
    return random_model(path, seed=1, layers=1, heads=1, metadata=metadata)


async def figures(model, layout, turns, window=CONTEXT):
    options = argparse.Namespace(turns=turns, window=window, write=False, verbose=False)
    with llama_server(model, CONTEXT) as (url, _):
        return await prefix.session(url, layout, options)


@needs_server
async def test_no_turn_reads_more_than_what_is_new(model):
    found, asked = await figures(model, "cached", 6)
    assert found.worst <= prefix.MOST
    assert found.compactions == 0
    assert asked[0].usage.cached == 0
    assert all(one.usage.cached > asked[0].usage.prompt for one in asked[1:])


@needs_server
async def test_the_old_layout_reads_all_again_at_each_edit_of_the_memory(model):
    found, _ = await figures(model, "memgpt", 3)
    assert found.worst > 5


@needs_server
async def test_a_compaction_is_counted_for_itself(model):
    found, asked = await figures(model, "cached", 8, window=5_000)
    assert found.compactions >= 1
    assert found.compactions == sum(one.summary for one in asked)
    assert any(one.compacted for one in asked)
    assert found.worst <= prefix.MOST
