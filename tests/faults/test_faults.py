"""However a server fails: a well-formed error or what it really said, and never a hang."""

from __future__ import annotations

import asyncio

import broken_beginnings
import fault_matrix
import pytest
import pytest_asyncio
from answer_frames import SAID
from fault_matrix import (
    BACKENDS,
    DEADLINE,
    FAULTS,
    WHEN,
    Troubled,
    disconnected,
    request,
    serving,
)
from visits import ask

from llmgate.backends import TABLE

pytestmark = pytest.mark.asyncio(loop_scope="module")

# In process, asked in the same words as a function.
LOCAL = {"embedded", "scripted"}


def chosen(session):
    """The backends that are asked for."""
    specs = [getattr(item, "callspec", None) for item in session.items]
    named = {spec.params.get("backend") for spec in specs if spec is not None}
    return sorted(named & set(BACKENDS))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rows(request):
    """The cells of all backends that are asked for."""
    return await fault_matrix.rows_of(chosen(request.session))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(request):
    """What becomes of all backends that are asked for, where the beginning goes wrong."""
    return await broken_beginnings.rows_of(chosen(request.session))


async def test_every_backend_over_http_is_in_the_matrix():
    served = {where for name, where in TABLE.items() if name not in LOCAL}
    assert {TABLE[name] for name in BACKENDS} == served
    assert len(FAULTS) >= 40
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
async def test_every_fault_ends_in_an_error_or_a_true_answer(rows, backend):
    cells = rows[backend]
    assert [str(cell) for cell in cells if cell.outcome == "violation"] == []
    assert len(cells) == 2 * len(FAULTS)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
async def test_a_server_that_has_nothing_more_to_send_sees_the_client_leave(backend):
    # Each returns once it has seen that, and raises if it never does.
    seen = [disconnected(backend, when, streamed=way) for when in WHEN for way in (False, True)]
    assert len(await asyncio.gather(*seen)) == 6


@pytest.mark.parametrize("backend", sorted(BACKENDS))
async def test_a_server_in_trouble_while_it_is_asked_about_itself_is_asked_again(started, backend):
    cells = started[backend]
    assert [str(cell) for cell in cells if cell.outcome == "violation"] == []
    assert len(cells) == len(broken_beginnings.FAULTS)


async def test_a_server_that_comes_back_with_another_model_is_asked_for_that():
    async with BACKENDS["vllm"]() as server:
        troubled = Troubled(server, [])
        async with serving({"m": troubled.settings()}) as app:
            assert (await ask(app, request("m", "Hello"), DEADLINE)).status == 200
            server.name = "another"
            assert (await ask(app, request("m", "Hello"), DEADLINE)).status == 424
            answer = await ask(app, request("m", "Hello"), DEADLINE)
            assert answer.json["choices"][0]["message"]["content"] == SAID
