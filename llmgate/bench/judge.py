"""What an answer is worth: the calls and the text that came, against what a case expects."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmgate.bench.cases import Case
from llmgate.bench.result import Call
from llmgate.bench.rules import Verdict, check_calls, is_same
from llmgate.errors import OutputError
from llmgate.validation import Checker

__all__ = ["Verdict", "judge"]


def judge(case: Case, calls: Sequence[Call], text: str, error: str = "") -> Verdict:
    """Whether an answer is what `case.expect` says; its further turns are not looked at.

    `error` is why there is no answer, after the name of its class: an `OutputError` is the
    model's (`invalid`), all others are not (`error`).
    """
    if error:
        mine = error.startswith(f"{OutputError.__name__}:")
        return Verdict("invalid" if mine else "error", (error,))
    expect = case.expect
    if expect.kind == "calls":
        return check_calls(
            expect.calls, case.tools, calls, language=case.language, ordered=expect.ordered
        )
    if calls:
        names = ", ".join(repr(call.name) for call in calls)
        return Verdict("unwanted_call", (f"no call is right here, {names} came",))
    if expect.kind == "json":
        return _json(case, text)
    if expect.kind == "text" and expect.texts:
        said = text.casefold()
        if not any(wanted.casefold() in said for wanted in expect.texts):
            wanted = " or ".join(repr(one) for one in expect.texts)
            return Verdict("wrong_text", (f"the answer does not say {wanted}",))
    if expect.kind == "text" and not text.strip():
        return Verdict("wrong_text", ("the answer is empty",))
    return Verdict("right")


def _json(case: Case, text: str) -> Verdict:
    """Whether a text is JSON that fits the schema, and one of the right values."""
    expect = case.expect
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Verdict("invalid", (f"the answer is no JSON: {error}",))
    if expect.schema is not None and (problems := Checker.of(expect.schema).problems(value)):
        return Verdict("invalid", tuple(problems))
    if expect.values and not any(is_same(value, answer) for answer in expect.values):
        right = " or ".join(json.dumps(answer, ensure_ascii=False) for answer in expect.values)
        return Verdict("wrong_text", (f"the answer is {text.strip()}, right would be {right}",))
    return Verdict("right")
