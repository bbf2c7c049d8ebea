"""Limits of clients: which models they may ask for, and how much of them in a minute."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping

from llmgate.config import KeySettings
from llmgate.errors import Forbidden, RateLimited
from llmgate.gateway.clock import Clock
from llmgate.gateway.routing import pattern
from llmgate.types import Request

_MINUTE = 60.0
# A token of English is about four letters; the answer's part where the request does not say.
_LETTERS_PER_TOKEN = 4
_REPLY = 256


class Bucket:
    """So many in a minute: full at first, refilled all the time, never over its size."""

    def __init__(self, size: int, clock: Clock) -> None:
        self.size = size
        self._clock = clock
        self._level = float(size)
        self._at = clock.now()

    @property
    def level(self) -> float:
        """What is left; below zero where more was used than was expected."""
        now = self._clock.now()
        self._level = min(self.size, self._level + (now - self._at) * self.size / _MINUTE)
        self._at = now
        return self._level

    def wait(self, amount: float) -> float:
        """Seconds until there is that much, at most a full bucket."""
        lacking = min(amount, self.size) - self.level
        return max(0.0, lacking * _MINUTE / self.size)

    def take(self, amount: float) -> None:
        """Take as much out; a negative amount is given back."""
        self._level = min(float(self.size), self.level - amount)


class Client:
    """One API key: its name, its models, its limits."""

    def __init__(self, name: str, settings: KeySettings, clock: Clock) -> None:
        self.name = name
        self._requests = Bucket(settings.requests, clock) if settings.requests else None
        self._tokens = Bucket(settings.tokens, clock) if settings.tokens else None
        self._models = [pattern(model) for model in settings.models]

    def allows(self, *names: str) -> bool:
        """Whether it may ask for a model by any of its names."""
        return any(model.fullmatch(name) for model in self._models for name in names)

    def check(self, *names: str) -> None:
        """Raise `Forbidden` unless it may ask for a model by one of its names."""
        if not self.allows(*names):
            raise Forbidden(
                f"The API key {self.name!r} may not use the model {names[0]!r}.",
                hint=f"`models` of server.keys.{self.name} in llmgate.toml lists those it may use.",
                param="model",
            )

    def admit(self, tokens: int) -> None:
        """Charge one request, and as many tokens as it is expected to take.

        Raises `RateLimited` and charges nothing where either is used up. A request for more than
        a minute's tokens is let in once the bucket is full.
        """
        for bucket, amount, what in (
            (self._requests, 1, "requests"),
            (self._tokens, tokens, "tokens"),
        ):
            if bucket is not None and (wait := bucket.wait(amount)) > 0:
                raise RateLimited(
                    f"The API key {self.name!r} has used up its {bucket.size} {what} in a minute.",
                    retry_after=wait,
                    hint=f"Try again in {math.ceil(wait)} s.",
                )
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(tokens)

    def settle(self, expected: int, used: int) -> None:
        """Charge what was used in place of what was expected."""
        if self._tokens is not None:
            self._tokens.take(used - expected)

    def headers(self) -> dict[str, str]:
        """What is left, in the headers that the official clients know."""
        headers = {}
        for kind, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                headers[f"x-ratelimit-limit-{kind}"] = str(bucket.size)
                headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, math.floor(bucket.level)))
                headers[f"x-ratelimit-reset-{kind}"] = f"{bucket.wait(bucket.size):.3f}s"
        return headers


class Clients:
    """The clients by their keys."""

    def __init__(self, keys: Mapping[str, KeySettings], clock: Clock | None = None) -> None:
        clock = clock or Clock()
        # Looked up by a digest that nobody outside can compute: how long that takes says nothing
        # about the keys.
        self._secret = secrets.token_bytes(32)
        self._by_digest = {
            self._digest(settings.key.strip().encode()): Client(name, settings, clock)
            for name, settings in keys.items()
        }

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def of(self, key: bytes) -> Client | None:
        """The client with that key."""
        return self._by_digest.get(self._digest(key))

    def _digest(self, key: bytes) -> bytes:
        return hmac.digest(self._secret, key, hashlib.sha256)


def expected_tokens(request: Request) -> int:
    """About how many tokens a request and its answer will take."""
    letters = sum(len(message.content or "") for message in request.messages)
    letters += sum(
        len(call.arguments) for message in request.messages for call in message.tool_calls
    )
    reply = request.sampling.max_tokens or _REPLY
    return letters // _LETTERS_PER_TOKEN + reply
