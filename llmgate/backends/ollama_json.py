"""What Ollama is sent, what its replies say, and what it tells of its models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmgate.backends.fields import count_in, piece_in, string_in
from llmgate.config import ModelSettings
from llmgate.errors import RequestError
from llmgate.types import ChatTemplate, Delta, Finish, Prompt, Sampling, Usage

# The BOS of the models that it serves: `/api/show` tells its number, but not its text.
_BOS = (
    "<s>",
    "<bos>",
    "<|begin_of_text|>",
    "<|startoftext|>",
    "[BOS]",
    "<\uff5cbegin▁of▁sentence\uff5c>",
)
# Architectures whose BOS it adds whatever the model's file says.
_BOS_FORCED = ("gemma4", "lfm2")
# `truncate` came with 0.12.5, went with it and came back with 0.12.6: all since then have it.
_TRUNCATE_SINCE = (0, 13)
# After so many equal pieces behind the first one it gives up, without an end mark.
REPEATED = 30
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)\s*$", re.MULTILINE)
_VERSION = re.compile(r"(\d+)\.(\d+)")


def body_of(
    prompt: Prompt, settings: ModelSettings, model: str, *, adds_bos: bool
) -> dict[str, Any]:
    """The body of a request to `/api/generate`; what nobody chose is left out.

    Raises `RequestError` for an empty prompt, which would only load the model.
    """
    text = without_bos(prompt.text) if adds_bos else prompt.text
    if not text:
        raise RequestError("Ollama completes no empty prompt.")
    options = options_of(prompt.sampling, prompt.stop)
    body = {
        "prompt": text,
        "raw": True,
        "stream": True,
        # Else a model that can think thinks, and its thoughts are cut out of the text.
        "think": False,
        # Else a prompt that is too long is cut, and a long answer pushes its beginning out.
        "truncate": False,
        "shift": False,
    }
    if prompt.schema is not None:
        body["format"] = {} if prompt.schema is True else prompt.schema
    return {**body, **common(settings, model, options)}


def options_of(sampling: Sampling, stop: Sequence[str]) -> dict[str, Any]:
    """How the next token is chosen, and where the answer ends, in Ollama's words."""
    fields = {
        "num_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        # -1 means "random".
        "seed": None if sampling.seed is None else sampling.seed % 0x7FFFFFFF,
        "stop": [text for text in stop if text] or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def common(settings: ModelSettings, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are the same in all requests: a change of some would load the model anew."""
    extra = dict(settings.extra)
    further = extra.pop("options", {})
    size = {} if settings.context is None else {"num_ctx": settings.context}
    return {"model": model, **extra, "options": {**size, **options, **further}}


def without_bos(text: str) -> str:
    """The text without the BOS that it begins with."""
    return next((text.removeprefix(bos) for bos in _BOS if text.startswith(bos)), text)


def adds_bos(info: Mapping[str, Any]) -> bool:
    """Whether a BOS is put before all prompts of a model, by the keys of its GGUF file."""
    if str(info.get("general.architecture")).startswith(_BOS_FORCED):
        return True
    told = info.get("tokenizer.ggml.add_bos_token")
    # llama.cpp's own default, which depends on the kind of tokenizer.
    return told if isinstance(told, bool) else info.get("tokenizer.ggml.model") == "llama"


def template_of(info: Mapping[str, Any]) -> ChatTemplate | None:
    """The model's own Jinja template. Ollama shows its own one, in Go's language, in its place."""
    text = info.get("tokenizer.chat_template")
    return ChatTemplate(text) if isinstance(text, str) and text else None


def context_of(show: Mapping[str, Any], loaded: Mapping[str, Any] | None) -> int | None:
    """How many tokens a model's context has, as far as that is certain.

    What it was trained for says nothing: without a size in its settings Ollama chooses one by
    the memory that is there, and tells it once the model is loaded.
    """
    if loaded is not None and (size := count_in(dict(loaded), "context_length")):
        return size
    match = _NUM_CTX.search(string_in(dict(show), "parameters") or "")
    return int(match[1]) if match else None


def loaded_in(running: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    """What `/api/ps` tells of a model, None if it is not loaded."""
    names = (model, f"{model}:latest")
    models = running.get("models")
    for entry in models if isinstance(models, list) else ():
        if isinstance(entry, dict) and (entry.get("name") in names or entry.get("model") in names):
            return entry
    return None


def truncates(version: str | None) -> bool:
    """Whether a server of this version cuts prompts although it was asked not to."""
    match = _VERSION.match(version or "")
    return match is None or (int(match[1]), int(match[2])) < _TRUNCATE_SINCE


class AnswerReader:
    """Reads the lines of one answer, see `llmgate.backends.http.Reader`.

    `repeated` counts the equal pieces at its end, behind the first of them.
    """

    def __init__(self) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.complete = False
        self.repeated = 0
        self._last: str | None = None

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The deltas of one line."""
        deltas = []
        if thoughts := piece_in(reply, "thinking"):
            deltas.append(Delta(reasoning=thoughts))
        if text := piece_in(reply, "response"):
            deltas.append(Delta(text))
            self.repeated = self.repeated + 1 if text.strip() == self._last else 0
            self._last = text.strip()
        if reply.get("done") is True:
            self.finish = "length" if reply.get("done_reason") == "length" else "stop"
            self.complete = True
            prompt, completion = count_in(reply, "prompt_eval_count"), count_in(reply, "eval_count")
            if prompt is not None or completion is not None:
                self.usage = Usage(prompt or 0, completion or 0)
        return deltas
