"""Many requests from a file, answered in parallel under limits, resumed after any kill.

    with Journal.open(Path("results.jsonl")) as journal:
        source = Requests.survey(Path("requests.jsonl"), journal.done)
        await Runner(source, target, journal, Limits(requests=60), Plan()).run()

One noun a file: `requests` reads, `buckets` limits, `target` asks, `results` writes a line,
`journal` keeps the lines, `runner` brings them together.
"""

from __future__ import annotations

from llmgate.batch.buckets import Limits
from llmgate.batch.journal import Done, Journal
from llmgate.batch.remote import Endpoint
from llmgate.batch.requests import Job, Malformed, Requests
from llmgate.batch.runner import Plan, Runner
from llmgate.batch.target import Answer, Failure, Local, Target

__all__ = [
    "Answer",
    "Done",
    "Endpoint",
    "Failure",
    "Job",
    "Journal",
    "Limits",
    "Local",
    "Malformed",
    "Plan",
    "Requests",
    "Runner",
    "Target",
]
