"""Servers that speak `POST /v1/chat/completions`, and what each of them understands: a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

# Where our word for a way of sampling and the server's are the same.
_SAME = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")


def _words(*same: str, **other: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {**{name: (name,) for name in same}, **other}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of server.

    url: where it is if the settings don't say.
    key_header: what its key stands in, None for a bearer token.
    limit, sampling: its words for the most tokens, and for our ways of sampling.
    choices: whether `tool_choice` may name a function, or be a word only.
    allows: whether it may name several, one of which may be called.
    subset: schemas have to be in the strict subset to be held to.
    shows_schema: the model sees the schema, not only the sampler.
    objects: any JSON object can be asked for.
    stops: how many stop strings it takes, None for any number.
    plain_names: names of functions are letters, digits, `_` and `-`.
    own_names: its names for models are not the client's.
    """

    kind: str
    example: str
    url: str | None = None
    key_header: str | None = None
    limit: str = "max_tokens"
    sampling: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    choices: Literal["named", "words"] = "named"
    allows: bool = False
    subset: bool = False
    shows_schema: bool = False
    objects: bool = True
    stops: int | None = None
    plain_names: bool = False
    own_names: bool = True


OPENAI = Row(
    kind="the API of OpenAI",
    example="https://api.openai.com/v1",
    url="https://api.openai.com",
    limit="max_completion_tokens",
    sampling=_words(*_SAME),
    allows=True,
    subset=True,
    shows_schema=True,
    stops=4,
    plain_names=True,
    own_names=False,
)
AZURE = msgspec.structs.replace(
    OPENAI,
    kind="an Azure OpenAI resource",
    example="https://NAME.openai.azure.com/openai/v1",
    url=None,
    key_header="api-key",
    allows=False,
)
LM_STUDIO = Row(
    kind="LM Studio",
    example="http://127.0.0.1:1234",
    url="http://127.0.0.1:1234",
    sampling=_words(*_SAME, "top_k", "min_p", "repeat_penalty"),
    choices="words",
    objects=False,
)
# Servers differ in how they call the penalty, and pass over what they don't know.
GENERIC = Row(
    kind="a server with /v1/chat/completions",
    example="http://127.0.0.1:8000",
    sampling=_words(
        *_SAME, "top_k", "min_p", repeat_penalty=("repeat_penalty", "repetition_penalty")
    ),
)
