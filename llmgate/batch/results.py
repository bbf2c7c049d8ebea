"""What a line of the results file looks like: one form for each form of requests.

Plain requests, as in MemGPT, with a stamp behind:

    [request, response, metadata or null, stamp]
    [request, [errors], metadata or null, stamp]

Lines of OpenAI's Batch API, as in its output files, with the stamp as a field:

    {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null, "llmgate"}
    {"id", "custom_id", "response": null, "error": {"code", "message"}, "llmgate"}
"""

from __future__ import annotations

from typing import Any

import msgspec

from llmgate.batch.requests import Job, Malformed
from llmgate.batch.target import Answer, Failure
from llmgate.types import Note

# The code of a request that no minute has room for.
TOO_LARGE = "request_exceeds_limit"


class Stamp(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which request a result belongs to, and how it went.

    `index` counts the lines of the requests file from 0, `hash` is that of the line's bytes.
    """

    index: int
    hash: str
    ok: bool
    attempts: int
    status: int | None = None
    code: str | None = None
    custom_id: str | None = None
    notes: tuple[Note, ...] = ()


class _Tagged(msgspec.Struct):
    llmgate: Stamp


def stamp_of(line: bytes) -> Stamp:
    """The stamp in a line of results. Raises `msgspec.DecodeError` if there is none."""
    if line.lstrip().startswith(b"["):
        form = tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw, Stamp]
        stamp: Stamp = msgspec.json.decode(line, type=form)[3]
        return stamp
    return msgspec.json.decode(line, type=_Tagged).llmgate


def write(job: Job | Malformed, end: Answer | Failure, failures: tuple[Failure, ...]) -> bytes:
    """The line for a request that ended so; `failures` are those of all its attempts."""
    openai = job.form == "openai"
    ok, code = isinstance(end, Answer), None if isinstance(end, Answer) else end.code
    asked = isinstance(job, Job) and code != TOO_LARGE
    stamp = Stamp(
        job.index,
        job.hash,
        ok,
        len(failures) + ok if asked else 0,
        end.status,
        code,
        None if openai else job.custom_id,
        job.notes if isinstance(job, Job) else (),
    )
    if not openai:
        request = job.body if isinstance(job, Job) else job.request
        answer = end.body if isinstance(end, Answer) else [f.message for f in failures]
        metadata = job.metadata if isinstance(job, Job) else None
        return _encode([request, answer, metadata, stamp])
    response, error = None, None
    if isinstance(end, Failure) and end.status is None:
        error = {"code": end.code, "message": end.message}
    else:
        response = {"status_code": end.status, "request_id": end.request_id or "", "body": end.body}
    return _encode(
        {
            "id": f"batch_req_{job.hash}{job.index:x}",
            "custom_id": job.custom_id,
            "response": response,
            "error": error,
            "llmgate": stamp,
        }
    )


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"
