"""What llama-server is sent, and what its replies say."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from llmgate.backends.fields import count_in, piece_in, string_in
from llmgate.types import ChatTemplate, Delta, Finish, Note, Prompt, Usage


def body_of(prompt: Prompt, added_bos: str) -> dict[str, Any]:
    """The body of a request for a completion; `added_bos` is the BOS that the server adds itself.

    What nobody chose is left out: the server has its own defaults.
    """
    sampling = prompt.sampling
    fields = {
        "n_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        # The server knows 32 bits, of which the largest value means "random".
        "seed": None if sampling.seed is None else sampling.seed % 0xFFFFFFFF,
        "stop": [stop for stop in prompt.stop if stop] or None,
        "grammar": prompt.grammar,
        # Beside a grammar the server drops it without a word.
        "json_schema": None if prompt.grammar is not None else prompt.schema,
        "preserved_tokens": [text for text in prompt.preserved if text] or None,
    }
    text = prompt.text.removeprefix(added_bos) if added_bos else prompt.text
    chosen = {name: value for name, value in fields.items() if value is not None}
    return {"prompt": text, "stream": True, "cache_prompt": True, **chosen}


class _Piece(msgspec.Struct):
    """What counts in a reply with a piece of the text; what there may be of a failure is kept."""

    content: str
    stop: bool
    error: msgspec.Raw | UnsetType = UNSET
    detail: msgspec.Raw | UnsetType = UNSET
    object: msgspec.Raw | UnsetType = UNSET


_PIECES = msgspec.json.Decoder(_Piece)


class AnswerReader:
    """Reads the replies to one request, see `llmgate.backends.http.Reader`.

    Leaves out the control token that ended the answer, shown where it is to be preserved. Whether
    it is the end is clear with the next reply: this is where it is held back till then.
    """

    def __init__(self, preserved: tuple[str, ...] = ()) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.complete = False
        # The slot that answered, as the last reply tells it.
        self.slot: int | None = None
        self._preserved = sorted((text for text in preserved if text), key=len, reverse=True)
        self._held = ""
        self._at: Any = None

    def text_of(self, data: str) -> str | None:
        """The text of a reply that says nothing else; nearly all of them are such."""
        if self._preserved:
            return None
        try:
            piece = _PIECES.decode(data)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return None
        plain = not piece.stop and piece.error is piece.detail is piece.object is UNSET
        return piece.content if plain else None

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The deltas of one reply."""
        deltas = [Delta(text)] if (text := self._text(reply)) else []
        if reply.get("stop") is True:
            deltas += self._end(reply)
        return deltas

    def _text(self, reply: dict[str, Any]) -> str:
        """The text that can be passed on with this reply."""
        text = piece_in(reply, "content")
        if not self._preserved:
            return text
        held, self._held = self._held, ""
        tokens = reply.get("tokens_predicted")
        if reply.get("stop") is True:
            ended = reply.get("stop_type") == "eos" or bool(reply.get("stopped_eos"))
            return text if ended and tokens == self._at else held + text
        self._at = tokens
        self._held = next((mark for mark in self._preserved if text.endswith(mark)), "")
        return held + text.removesuffix(self._held)

    def _end(self, reply: dict[str, Any]) -> list[Delta]:
        """What the reply that says `stop` tells of the answer."""
        kind = reply.get("stop_type")
        length = kind == "limit" or bool(reply.get("stopped_limit"))
        self.usage = usage_of(reply)
        self.slot = count_in(reply, "id_slot")
        self.finish, self.complete = "length" if length else "stop", True
        if reply.get("truncated") and not length:
            message = "The server dropped a part of the text to make it fit its context."
            return [Delta(note=Note("truncated", message))]
        return []


def template_of(props: dict[str, Any]) -> ChatTemplate | None:
    """The chat template among a server's properties."""
    text = string_in(props, "chat_template")
    if not text:
        return None
    return ChatTemplate(
        text,
        bos=string_in(props, "bos_token") or "",
        eos=string_in(props, "eos_token") or "",
        tools=string_in(props, "chat_template_tool_use") or None,
    )


def usage_of(reply: dict[str, Any]) -> Usage:
    """The numbers of tokens that the last event of an answer tells."""
    raw = reply.get("timings")
    timings = raw if isinstance(raw, dict) else {}
    cached = count_in(timings, "cache_n")
    prompt = count_in(reply, "tokens_evaluated")
    if prompt is None:
        prompt = (cached or 0) + (count_in(timings, "prompt_n") or 0)
    completion = count_in(reply, "tokens_predicted")
    if completion is None:
        completion = count_in(timings, "predicted_n") or 0
    return Usage(prompt, completion, cached)
