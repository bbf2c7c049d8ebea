"""The results file: cut lines are mended, foreign files are left alone, one writer at a time."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys

import pytest
from batch_doubles import read_lines

from llmgate.batch import Answer, Failure, Job, Journal
from llmgate.batch.results import stamp_of, write
from llmgate.errors import ConfigError, LlmgateError


def job(index, form="plain", **more):
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    return Job(index, f"{index + 1:016x}", form, "/v1/chat/completions", body, **more)


def line(index, ok=True, form="plain"):
    if ok:
        return write(job(index, form), Answer({"n": index}), ())
    failure = Failure("timeout", "too late")
    return write(job(index, form), failure, (failure,))


def test_a_plain_result_is_request_response_metadata_stamp():
    asked = job(7, metadata={"row": 3}, custom_id="x")
    request, response, metadata, stamp = json.loads(write(asked, Answer({"ok": 1}), ()))
    assert (request, response, metadata) == (asked.body, {"ok": 1}, {"row": 3})
    assert stamp == {
        "index": 7,
        "hash": "0000000000000008",
        "ok": True,
        "attempts": 1,
        "status": 200,
        "custom_id": "x",
    }


def test_a_plain_failure_has_the_errors_of_all_attempts():
    failures = (Failure("http_500", "first", 500), Failure("timeout", "second"))
    _, errors, metadata, stamp = json.loads(write(job(0), failures[-1], failures))
    assert (errors, metadata) == (["first", "second"], None)
    assert (stamp["ok"], stamp["attempts"], stamp["code"]) == (False, 2, "timeout")


def test_results_of_openais_form():
    asked = job(1, "openai", custom_id="b")
    good = json.loads(write(asked, Answer({"ok": 1}, request_id="req"), ()))
    assert good["custom_id"] == "b"
    assert good["response"] == {"status_code": 200, "request_id": "req", "body": {"ok": 1}}
    assert good["error"] is None
    refused = Failure("invalid", "no", 400, {"error": {"message": "no"}})
    bad = json.loads(write(asked, refused, (refused,)))
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"] == {"error": {"message": "no"}}
    lost = Failure("timeout", "too late")
    gone = json.loads(write(asked, lost, (lost,)))
    assert (gone["response"], gone["error"]) == (
        None,
        {"code": "timeout", "message": "too late"},
    )


@pytest.mark.parametrize("form", ["plain", "openai"])
def test_a_cut_last_line_is_taken_away_wherever_it_was_cut(tmp_path, form):
    path = tmp_path / "out.jsonl"
    first, second = line(0, form=form), line(1, form=form)
    for cut in range(0, len(second) - 1, 3):
        path.write_bytes(first + second[:cut])
        with Journal.open(path) as journal:
            assert (0 in journal.done, 1 in journal.done) == (True, False)
        assert path.read_bytes() == first


@pytest.mark.parametrize("form", ["plain", "openai"])
def test_a_line_that_lacks_only_its_end_is_kept(tmp_path, form):
    path = tmp_path / "out.jsonl"
    path.write_bytes(line(0, form=form) + line(1, form=form)[:-1])
    with Journal.open(path) as journal:
        assert len(journal.done) == 2
    assert path.read_bytes() == line(0, form=form) + line(1, form=form)


def test_zeros_after_a_power_cut_are_taken_away(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(line(0) + line(1)[:9] + bytes(100))
    with Journal.open(path) as journal:
        assert len(journal.done) == 1
    assert path.read_bytes() == line(0)


@pytest.mark.parametrize(
    "content",
    [
        b"my notes",
        b"my notes\n",
        b'{"a": 1}\n',
        b"[1, 2, 3]",
        b"[\n  1\n]\n",
        b'[{"messages": []}, {"id": 1}]\n',
        line(0) + b"something\n" + line(1),
        line(0).replace(b'"hash":"0', b'"hash":"x'),
        line(0).replace(b'"index":0', b'"index":-1'),
    ],
)
def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="did not write, line"):
        Journal.open(path)
    assert path.read_bytes() == content


def test_failed_results_are_taken_out_to_be_done_again(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(line(0) + line(1, ok=False) + line(2) + line(3, ok=False, form="openai"))
    with Journal.open(path) as journal:
        assert (journal.done.answered, journal.done.failed) == (2, 2)
        journal.take_out_failed()
        assert [index in journal.done for index in range(4)] == [True, False, True, False]
        asyncio.run(journal.append(line(3)))
    assert path.read_bytes() == line(0) + line(2) + line(3)
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_lines_are_complete_and_counted_once_written(tmp_path):
    path = tmp_path / "out.jsonl"

    async def write_many():
        with Journal.open(path) as journal:
            await asyncio.gather(*(journal.append(line(i)) for i in range(200)))
            return len(journal.done)

    assert asyncio.run(write_many()) == 200
    assert [entry[1]["n"] for entry in read_lines(path)] == list(range(200))


def test_a_line_is_written_even_if_nobody_waits_for_it(tmp_path):
    path = tmp_path / "out.jsonl"

    async def leave():
        with Journal.open(path) as journal:
            writing = asyncio.create_task(journal.append(line(0)))
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await journal.flush()
            return 0 in journal.done

    assert asyncio.run(leave())
    assert path.read_bytes() == line(0)


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "out.jsonl"
    real, left = os.write, [len(line(0)) + 10]

    def until_full(file, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(file, bytes(data)[: left[0]])
        left[0] -= written
        return written

    async def fill():
        with Journal.open(path) as journal:
            await journal.append(line(0))
            with pytest.raises(LlmgateError, match="No space left") as caught:
                await journal.append(line(1))
            assert "run the same command again" in str(caught.value)
            assert 1 not in journal.done
            left[0] = 10_000
            await journal.append(line(2))

    monkeypatch.setattr(os, "write", until_full)
    asyncio.run(fill())
    assert path.read_bytes() == line(0) + line(2)


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_there_is_one_writer_at_a_time(tmp_path):
    path = tmp_path / "out.jsonl"
    with Journal.open(path), pytest.raises(ConfigError, match="another llmgate batch"):
        Journal.open(path)
    with Journal.open(path) as journal:
        assert len(journal.done) == 0


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.*No such file"):
        Journal.open(tmp_path / "nowhere" / "out.jsonl")


def test_every_line_can_be_read_again():
    for form in ("plain", "openai"):
        for ok in (True, False):
            assert stamp_of(line(5, ok, form)).index == 5
