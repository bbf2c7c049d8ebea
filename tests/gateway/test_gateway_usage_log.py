"""One line for each request, whatever became of it, and never in its way."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from scripted_models import FakeClock, ask, call_of, gateway_of, model_of, scripted, streamed

from llmgate.config import KeySettings, ServerSettings, Settings
from llmgate.errors import BackendUnreachable, ConfigError, UnknownModel
from llmgate.gateway import Gateway, usage_log
from llmgate.gateway.limits import Clients
from llmgate.gateway.usage_log import UsageLog

GONE = BackendUnreachable("gone")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_what_a_line_says(tmp_path):
    clock, path = FakeClock(flows=True), tmp_path / "usage.jsonl"
    gateway = gateway_of(
        model_of("a", scripted(GONE, GONE), clock=clock, retries=1, fallbacks=("b",)),
        model_of("b", scripted("one two three"), clock=clock),
        clock=clock,
        usage_log=path,
    )
    client = Clients({"ann": KeySettings("k")}, clock).of(b"k")
    completion = await gateway.complete(ask("a"), client=client)
    await gateway.aclose()
    [line] = lines(path)
    assert line.pop("time") > 1.7e9
    assert line.pop("total_ms") >= line.pop("first_ms") > 0
    assert line == {
        "key": "ann",
        "model": "a",
        "answered_by": "b",
        "replica": "b-0",
        "prompt_tokens": completion.usage.prompt,
        "completion_tokens": 3,
        "cached_tokens": None,
        "status": 200,
        "error": None,
        "finish": "stop",
        "retries": 1,
        "fallback": True,
        "from_cache": False,
    }


async def test_failures_and_those_who_left_have_their_lines(tmp_path):
    clock, path = FakeClock(), tmp_path / "usage.jsonl"
    backend = scripted(GONE, ["half ", GONE], ["a ", asyncio.Event()], "kept")
    model = model_of("m", backend, clock=clock, cache=60)
    gateway = gateway_of(model, clock=clock, usage_log=path)
    with pytest.raises(UnknownModel):
        await gateway.complete(ask("n"))
    for _ in range(2):
        with pytest.raises(BackendUnreachable):
            await streamed(gateway, ask())
    deltas = gateway.stream(ask())
    await anext(deltas)
    await deltas.aclose()
    for _ in range(2):
        await gateway.complete(ask())
    await gateway.aclose()
    assert [(line["status"], line["error"], line["from_cache"]) for line in lines(path)] == [
        (404, "model_not_found", False),
        (503, "backend_unreachable", False),
        (503, "backend_unreachable", False),
        (499, None, False),
        (200, None, False),
        (200, None, True),
    ]


async def test_no_text_of_anybody_is_written(tmp_path):
    clock, path = FakeClock(), tmp_path / "usage.jsonl"
    model = model_of("m", scripted("SECRET answer"), clock=clock)
    gateway = gateway_of(model, clock=clock, usage_log=path)
    await gateway.complete(ask(text="SECRET question", conversation="SECRET name"))
    await gateway.aclose()
    assert "SECRET" not in path.read_text()


async def test_lines_are_appended_and_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    path = tmp_path / "usage.jsonl"
    for _ in range(2):
        log = UsageLog(path)
        log.add(call_of(FakeClock()))
        await log.aclose()
    assert len(lines(path)) == 2
    path.rename(tmp_path / "old.jsonl")
    log.add(call_of(FakeClock()))
    await log.aclose()
    assert len(lines(path)) == 1
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_full_disk_costs_lines_and_one_warning(tmp_path, monkeypatch, caplog):
    path = tmp_path / "usage.jsonl"
    log = UsageLog(path)
    log.add(call_of(FakeClock()))
    await log.aclose()
    real_write = os.write

    def half(file, data):
        real_write(file, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(usage_log.os, "write", half)
    for _ in range(3):
        log.add(call_of(FakeClock()))
        await log.aclose()
    monkeypatch.undo()
    log.add(call_of(FakeClock()))
    await log.aclose()
    assert len(lines(path)) == 2
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 2
    assert "No space left" in warnings[0]
    assert "3 lines were lost" in warnings[1]


async def test_a_slow_disk_stops_nobody(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(usage_log, "_WAITING", 5)
    log = UsageLog(tmp_path / "usage.jsonl")
    for _ in range(9):
        log.add(call_of(FakeClock()))
    await log.aclose()
    assert len(lines(tmp_path / "usage.jsonl")) == 5
    assert "too slow" in caplog.text


def test_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path):
    log = str(tmp_path / "no" / "usage.jsonl")
    with pytest.raises(ConfigError, match=r"server\.usage_log: there is no folder"):
        Gateway.open(Settings(server=ServerSettings(usage_log=log)))


async def test_a_place_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    clock = FakeClock()
    model = model_of("m", scripted("ok"), clock=clock)
    gateway = gateway_of(model, clock=clock, usage_log=tmp_path / "no" / "where")
    assert (await gateway.complete(ask())).message.content == "ok"
    await gateway.aclose()
    assert "can't be written" in caplog.text
