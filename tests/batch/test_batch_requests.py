"""The requests file: both forms, broken lines, and never the whole file in memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from batch_doubles import chat_line, write_lines

from llmgate.batch import Done, Job, Malformed, Requests
from llmgate.batch import requests as reading
from llmgate.batch.estimate import Estimator
from llmgate.batch.results import Stamp
from llmgate.errors import ConfigError

BATCH = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat_line("x")}


def jobs(path, done=None):
    done = done or Done()
    return list(Requests.survey(path, done).pending(done))


def one(tmp_path, line):
    (job,) = jobs(write_lines(tmp_path / "r.jsonl", line))
    return job


def test_a_plain_line_loses_what_is_not_part_of_its_body(tmp_path):
    job = one(tmp_path, chat_line("Hi", model="m", metadata={"row": 1}, custom_id="one"))
    assert isinstance(job, Job)
    assert job.body == chat_line("Hi", model="m")
    assert (job.metadata, job.custom_id, job.path) == ({"row": 1}, "one", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("body", "path"),
    [({"input": ["a"]}, "/v1/embeddings"), ({"prompt": "a"}, "/v1/completions")],
)
def test_other_plain_bodies_go_where_they_belong(tmp_path, body, path):
    assert one(tmp_path, body).path == path


def test_a_line_of_openais_batch_api(tmp_path):
    job = one(tmp_path, BATCH)
    assert (job.form, job.custom_id, job.body) == ("openai", "a", chat_line("x"))


def test_streaming_is_left_out_with_a_note(tmp_path):
    job = one(tmp_path, chat_line("x", stream=True, stream_options={"include_usage": True}))
    assert job.body == chat_line("x")
    assert [note.code for note in job.notes] == ["ignored_parameter"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", "invalid_json"),
        (b'{"messages": "\xff"}', "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ('{"messages": ' + "[" * 400 + "]" * 400 + "}", "invalid_json"),
        ("[1]", "invalid_request"),
        ({"custom_id": 1, "body": {}}, "invalid_request"),
        ({"custom_id": "a", "body": None}, "invalid_request"),
        ({**BATCH, "method": "GET"}, "invalid_request"),
        ({**BATCH, "url": "https://elsewhere.example/v1/chat/completions"}, "invalid_request"),
        ({**BATCH, "url": "//elsewhere.example/v1"}, "invalid_request"),
        ({**BATCH, "url": 1}, "invalid_request"),
    ],
)
def test_a_line_that_is_no_request_says_where_and_why(tmp_path, line, code):
    path = write_lines(tmp_path / "r.jsonl", chat_line("x"), "", line, chat_line("y"))
    first, broken, last = jobs(path)
    assert isinstance(broken, Malformed)
    assert broken.code == code
    assert broken.message.startswith("Line 3 ")
    assert (first.index, broken.index, last.index) == (0, 2, 3)


def test_a_broken_line_has_the_form_of_its_neighbours(tmp_path):
    broken, _ = jobs(write_lines(tmp_path / "r.jsonl", "{", BATCH))
    assert broken.form == "openai"


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = tmp_path / "r.jsonl"
    text = json.dumps(chat_line("x")).encode()
    path.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n\r\n   \n" + text)
    assert [(job.index, job.body) for job in jobs(path)] == [
        (0, chat_line("x")),
        (3, chat_line("x")),
    ]


def test_an_endless_line_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_LINE", 3_000_000)
    path = write_lines(tmp_path / "r.jsonl", b"x" * 20_000_000, chat_line("y"))
    tracemalloc.start()
    long, after = jobs(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (long.code, after.index) == ("line_too_long", 1)
    assert peak < 10_000_000


def test_a_large_file_is_read_a_line_at_a_time(tmp_path):
    path = tmp_path / "r.jsonl"
    line = json.dumps(chat_line("word " * 2000)).encode() + b"\n"
    with path.open("wb") as file:
        for _ in range(3000):
            file.write(line)
    done = Done()
    tracemalloc.start()
    source = Requests.survey(path, done)
    number = sum(1 for _ in source.pending(done))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.total == number == 3000
    assert peak < path.stat().st_size / 10


def test_what_is_done_is_left_out(tmp_path):
    path = write_lines(tmp_path / "r.jsonl", *(chat_line(str(i)) for i in range(4)))
    done = Done()
    for line in reading.lines(path):
        if line.index in (1, 3):
            done.add(Stamp(line.index, line.hash, True, 1))
    assert [job.index for job in jobs(path, done)] == [0, 2]


def test_a_changed_file_is_refused(tmp_path):
    path = write_lines(tmp_path / "r.jsonl", *(chat_line(str(i)) for i in range(4)))
    done = Done()
    for line in reading.lines(path):
        done.add(Stamp(line.index, line.hash, True, 1))
    write_lines(path, *(chat_line(str(i)) for i in range(6)))
    assert Requests.survey(path, done).total == 6
    write_lines(path, *(chat_line(str(i)) for i in range(3)))
    with pytest.raises(ConfigError, match="1 lines are gone"):
        Requests.survey(path, done)
    write_lines(path, *(chat_line(str(i)) for i in (0, 1, 9, 3)))
    with pytest.raises(ConfigError, match="line 3 is another request"):
        Requests.survey(path, done)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="gone"):
        Requests.survey(tmp_path / "gone.jsonl", Done())


def test_the_answer_counts_into_the_estimate(tmp_path):
    estimator = Estimator()
    short = estimator.of(one(tmp_path, chat_line("Hi", max_tokens=10)))
    long = estimator.of(one(tmp_path, chat_line("Hi", max_tokens=1000)))
    assert long.tokens - short.tokens == 990
    assert estimator.of(one(tmp_path, chat_line("Hi", max_tokens=10, n=3))).reply == 30
    assert estimator.of(one(tmp_path, {"input": "a" * 400})).tokens == pytest.approx(100, abs=10)


def test_estimates_learn_from_answers(tmp_path):
    estimator = Estimator()
    job = one(tmp_path, chat_line("x" * 1000))
    before = estimator.of(job)
    for _ in range(100):
        estimator.learn(estimator.of(job), 1006, 20)
    after = estimator.of(job)
    assert before.tokens < 600
    assert after.tokens == pytest.approx(1006 + 20, rel=0.1)
