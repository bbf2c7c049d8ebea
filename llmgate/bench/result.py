"""One line of `results.jsonl`: what a cell of the matrix made of a case."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Constraint = Literal["off", "schema", "grammar", "native"]
Expected = Literal["calls", "no_call", "json", "text"]
Outcome = Literal[
    "right",
    "wrong_function",
    "wrong_arguments",
    "missing_call",
    "unwanted_call",
    "invalid",
    "wrong_text",
    "error",
]


class CellKey(NamedTuple):
    """What tells a cell of the matrix from all others; `options` is canonical JSON."""

    model: str
    backend: str
    wrapper: str
    options: str
    constraint: str


class CaseKey(NamedTuple):
    """What tells an asking of a case from all others of the same cell."""

    suite: str
    case: str
    sample: int


class Call(msgspec.Struct, frozen=True):
    """A call that the gateway gave the client; `arguments` is JSON text."""

    name: str
    arguments: str


class Result(msgspec.Struct, frozen=True):
    """What came of one case in one cell, with all that is needed to look into it again.

    `expect` is the kind of what is right, of the first turn where there are several. `outcome` is
    the judge's, `problems` say why it is not `right`. `prompt` and `output` are what
    the model read and wrote, as they were; where it was asked again, or in several turns, those of
    the last time. `grammar` is the SHA-256 of the grammar (or schema) that held it, whose text is
    in `grammars.jsonl`. `notes` are the gateway's codes, `repairs` and `retries` counted from
    them. Tokens, `cached` included, are those of all turns; `cached` is None where nobody
    counted. `first_token` and `seconds` are measured where the answer is received. `error` is why
    there is no answer.
    """

    model: str
    backend: str
    wrapper: str
    options: str
    constraint: Constraint
    suite: str
    case: str
    sample: int
    seed: int
    expect: Expected
    outcome: Outcome
    problems: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    text: str = ""
    prompt: str = ""
    grammar: str = ""
    output: str = ""
    notes: tuple[str, ...] = ()
    repairs: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int | None = None
    first_token: float | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def cell(self) -> CellKey:
        """The cell of the matrix that it belongs to."""
        return CellKey(self.model, self.backend, self.wrapper, self.options, self.constraint)

    @property
    def key(self) -> CaseKey:
        """Which asking it was: the same key in another cell was the same case."""
        return CaseKey(self.suite, self.case, self.sample)
