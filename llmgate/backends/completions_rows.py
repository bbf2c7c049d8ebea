"""Servers with an OpenAI-style `POST /v1/completions`: what of it differs, as data."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec


class Constraint(msgspec.Struct, frozen=True):
    """Where a request says what the answer is held to: the way to the field, None for none.

    `dialect` is that of grammars; `as_text`: the schema is sent as JSON text.
    """

    grammar: tuple[str, ...] | None = None
    dialect: Literal["gbnf", "xgrammar"] = "gbnf"
    schema: tuple[str, ...] | None = None
    as_text: bool = False


class Counting(msgspec.Struct, frozen=True):
    """The route that counts the tokens of a text.

    `text` is the field for the text, `fields` go with it, `answer` is the field with the number.
    """

    path: str
    text: str
    answer: str
    fields: dict[str, Any] = {}


class Tokens(msgspec.Struct, frozen=True):
    """The routes that tell the tokens of a text, and the text of tokens where there is one.

    They say which BOS the server adds by itself. `text` is the field for the text, `fields` make
    it add what it adds to a prompt; `whole` is the field with the text of tokens.
    """

    path: str
    text: str
    fields: dict[str, Any] = {}
    back: str | None = None
    back_fields: dict[str, Any] = {}
    whole: str = "text"


class Listing(msgspec.Struct, frozen=True):
    """A route that lists models: where the list is, its names, and the context of each.

    `loaded`: the field, and its value, of those that are loaded. `instances`: the field with the
    loaded ones of a model, whose `config` tells the context. `other`: what makes no texts.
    """

    path: str = "/v1/models"
    entries: str = "data"
    name: str = "id"
    context: tuple[str, ...] = ()
    loaded: tuple[str, str] | None = None
    instances: str | None = None
    other: tuple[str, ...] = ("embedding", "embeddings")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of server.

    kind, example: its name and an address of it, for messages.
    sampling: what it calls our sampling fields; those that are missing it can't be told.
    fixed: what is sent with every request.
    stops: how many stop strings it takes at most; all are found here, too.
    constraint, older: how answers are constrained, and how before a version that `/version` tells.
    bos: `flag`: a field says whether the server adds its BOS; `strip`: it always does, whether or
        not there is one already; None: it keeps to one, or nobody knows.
    tokens: tells that BOS.
    counting: counts tokens; without one nobody does.
    listings: where models and their contexts are told, the best first.
    health: what is asked to see whether it can answer.
    model: whether it has to be told the name of its model.
    context: the field for the model's context, where it is told that.
    unlimited: what `max_tokens` is for no limit, where there is such a value.
    max_tokens: what is sent where nothing else is known.
    truncates: a prompt that is too long gets no error that tells it from others.
    usage: `told`; `estimated` from the text, so that nothing is not always none; `untold`.
    empty: an answer without text is one: the model ended it at once.
    serial: a request interrupts those that are running.
    unloaded: what it says is the name of its model where it has none.
    """

    kind: str
    example: str
    sampling: dict[str, str]
    fixed: dict[str, Any] = {}
    stops: int | None = None
    constraint: Constraint = Constraint()
    older: tuple[tuple[tuple[int, int], Constraint], ...] = ()
    bos: Literal["flag", "strip"] | None = None
    tokens: Tokens | None = None
    counting: Counting | None = None
    listings: tuple[Listing, ...] = (Listing(),)
    health: str = "/v1/models"
    model: bool = True
    context: str | None = None
    unlimited: Literal["null"] | None = None
    max_tokens: int = 2048
    truncates: bool = False
    usage: Literal["told", "estimated", "untold"] = "told"
    empty: bool = False
    serial: bool = False
    unloaded: str | None = None


_OPENAI: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}
_LLAMA: Final = {**_OPENAI, "top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repeat_penalty"}
_TRANSFORMERS: Final = {**_LLAMA, "repeat_penalty": "repetition_penalty"}
_USAGE: Final = {"stream_options": {"include_usage": True}}

# https://platform.openai.com/docs/api-reference/completions/create and nothing else.
GENERIC: Final = Row(
    kind="OpenAI-style server",
    example="http://127.0.0.1:8000",
    sampling=_OPENAI,
    fixed=_USAGE,
    stops=4,
    listings=(Listing(context=("max_model_len", "context_length", "context_window")),),
)

# https://github.com/oobabooga/text-generation-webui, modules/api. It tells no context.
TEXTGEN: Final = Row(
    kind="text-generation-webui",
    example="http://127.0.0.1:5000",
    sampling=_TRANSFORMERS,
    fixed={**_USAGE, "skip_special_tokens": False},
    # Its loaders but the one of llama.cpp read an older GBNF: the probe finds out.
    constraint=Constraint(("grammar_string",)),
    counting=Counting("/v1/internal/token-count", "text", "length"),
    health="/v1/internal/model/info",
    model=False,
    context="truncation_length",
    truncates=True,
    usage="estimated",
    unloaded="None",
)

# https://lmstudio.ai/docs/developer/openai-compat, /rest. The context is that of what is loaded.
LMSTUDIO: Final = Row(
    kind="LM Studio",
    example="http://127.0.0.1:1234",
    sampling={name: _LLAMA[name] for name in _LLAMA if name != "min_p"},
    fixed=_USAGE,
    listings=(
        Listing(
            "/api/v1/models", "models", "key", ("context_length",), instances="loaded_instances"
        ),
        Listing("/api/v0/models", context=("loaded_context_length",), loaded=("state", "loaded")),
    ),
    truncates=True,
)

# https://docs.vllm.ai. What is not sent is as the model's generation_config.json has it.
VLLM: Final = Row(
    kind="vLLM",
    example="http://127.0.0.1:8000",
    sampling=_TRANSFORMERS,
    fixed={**_USAGE, "skip_special_tokens": False, "spaces_between_special_tokens": False},
    constraint=Constraint(
        ("structured_outputs", "grammar"), "xgrammar", ("structured_outputs", "json")
    ),
    older=(((0, 12), Constraint(("guided_grammar",), "xgrammar", ("guided_json",))),),
    bos="flag",
    tokens=Tokens(
        "/tokenize", "prompt", {"add_special_tokens": True}, "/detokenize", whole="prompt"
    ),
    counting=Counting("/tokenize", "prompt", "count", {"add_special_tokens": False}),
    listings=(Listing(context=("max_model_len",)),),
    unlimited="null",
)

# https://docs.sglang.ai, python/sglang/srt/entrypoints/openai/protocol.py
SGLANG: Final = Row(
    kind="SGLang",
    example="http://127.0.0.1:30000",
    sampling=_TRANSFORMERS,
    fixed={**_USAGE, "skip_special_tokens": False},
    constraint=Constraint(("ebnf",), "xgrammar", ("json_schema",), as_text=True),
    bos="strip",
    tokens=Tokens(
        "/tokenize",
        "prompt",
        {"add_special_tokens": True},
        "/detokenize",
        {"skip_special_tokens": False},
    ),
    counting=Counting("/tokenize", "prompt", "count", {"add_special_tokens": False}),
    listings=(Listing(context=("max_model_len",)),),
)

# https://llama-cpp-python.readthedocs.io/en/latest/server/. It tells no context and no usage; what
# goes wrong in a stream, too long a prompt too, ends it without a word.
LLAMA_CPP_PYTHON: Final = Row(
    kind="the server of llama-cpp-python",
    example="http://127.0.0.1:8000",
    sampling=_LLAMA,
    # Its own penalty of 1.1 wears JSON out.
    fixed={"repeat_penalty": 1.0},
    constraint=Constraint(("grammar",)),
    bos="strip",
    tokens=Tokens("/extras/tokenize", "input"),
    counting=Counting("/extras/tokenize/count", "input", "count"),
    # All other routes wait for the model, or interrupt it.
    health="/openapi.json",
    model=False,
    unlimited="null",
    truncates=True,
    usage="untold",
    empty=True,
    serial=True,
)

# The texts of a BOS, to be tried where a server has one and does not tell its text.
BOS: Final = (
    "<s>",
    "<|begin_of_text|>",
    "<bos>",
    "<｜begin▁of▁sentence｜>",
    "<|startoftext|>",
    "<|endoftext|>",
    "[BOS]",
    "[gMASK]<sop>",
)
