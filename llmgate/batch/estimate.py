"""How many tokens a request may take: a cheap guess that real usage makes better."""

from __future__ import annotations

from typing import Any

import msgspec

from llmgate.batch.requests import Job

# English text has about four bytes a token; what answers say of their prompts replaces that.
_BYTES_PER_TOKEN = 4.0
# What wraps a message, and what opens an answer, in the formats of OpenAI's models.
_PER_MESSAGE = 4
_PER_REPLY = 2
_UNLIMITED_REPLY = 256.0
_LEARNING = 0.1
# The fields whose text becomes a part of the prompt.
_PROMPT = ("messages", "prompt", "input", "tools", "functions", "response_format")


class Estimate(msgspec.Struct, frozen=True):
    """The tokens of a request: `text` bytes in its prompt, `fixed` tokens around them, a reply."""

    text: int
    fixed: int
    reply: int
    limited: bool
    tokens: int


class Estimator:
    """Guesses tokens by the length of the text, and learns from the usage that answers report."""

    def __init__(self) -> None:
        self._per_byte = 1 / _BYTES_PER_TOKEN
        self._reply = _UNLIMITED_REPLY

    def of(self, job: Job) -> Estimate:
        """The estimate for a request: its prompt, and as many tokens as its answer may have."""
        body = job.body
        messages = body.get("messages")
        fixed = _PER_REPLY + _PER_MESSAGE * len(messages) if isinstance(messages, list) else 0
        said = [body[key] for key in _PROMPT if key in body]
        text = len(msgspec.json.encode(said)) if said else 0
        limit, reply = _limit(body), 0
        if "input" not in body or messages is not None:
            reply = round(self._reply) if limit is None else limit
            reply *= n if type(n := body.get("n")) is int and n > 0 else 1
        tokens = fixed + round(text * self._per_byte) + reply
        return Estimate(text, fixed, reply, limit is not None, max(1, tokens))

    def learn(self, estimate: Estimate, prompt: int, completion: int) -> None:
        """Take the real usage of a request into account."""
        if estimate.text and prompt > estimate.fixed:
            real = (prompt - estimate.fixed) / estimate.text
            self._per_byte += _LEARNING * (min(real, 1.0) - self._per_byte)
        if not estimate.limited and estimate.reply:
            self._reply += _LEARNING * (completion - self._reply)


def _limit(body: dict[str, Any]) -> int | None:
    for key in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = body.get(key)
        if type(value) is int and value > 0:
            return value
    return None
