"""What the events of an OpenAI-style `/v1/completions` say."""

from __future__ import annotations

from typing import Any

from llmgate.backends.completions_rows import Row
from llmgate.backends.fields import count_in, piece_in, string_in
from llmgate.errors import BackendError, ContentFiltered
from llmgate.types import Delta, Finish, Usage

_FAILED = ("abort", "error", "cancelled")
_FILTERED = "content_filter"


class CompletionReader:
    """Reads the events of one answer, see `llmgate.backends.http.Reader`.

    Its end is a `finish_reason`: `[DONE]` alone also comes behind errors and interruptions.
    """

    def __init__(self, row: Row, url: str) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.complete = False
        # All that it said, where nobody else counts its tokens.
        self.text: list[str] = []
        self._row = row
        self._url = url
        self._said = False

    def take(self, reply: dict[str, Any]) -> list[Delta]:
        """The deltas of one event.

        Raises `BackendError` for one that says that it failed, `ContentFiltered` for one held back.
        """
        if isinstance(usage := reply.get("usage"), dict):
            self.usage = usage_of(usage)
        choices = reply.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        text = ""
        if isinstance(choice, dict):
            text = piece_in(choice, "text")
            self._said = self._said or bool(text)
            if ended := string_in(choice, "finish_reason"):
                self._end(ended, choice)
            if text and self._row.usage == "untold":
                self.text.append(text)
        if self.finish is not None:
            self._settle()
        return [Delta(text)] if text else []

    def _end(self, ended: str, choice: dict[str, Any]) -> None:
        if ended in _FAILED:
            raise BackendError(
                f"The server at {self._url} gave the answer up ({ended!r}).",
                hint="It may be overloaded, or was told to abort.",
            )
        if ended == _FILTERED:
            raise ContentFiltered(f"The server at {self._url} held the answer back ({ended!r}).")
        self.finish = "length" if ended == "length" else "stop"
        # A stop string that it names was written, though it is in no text.
        matched = choice.get("stop_reason"), choice.get("matched_stop")
        if any(isinstance(one, str | int) and one != "" for one in matched):
            self._said = True
            self.usage = self.usage or Usage(completion=1)

    def _settle(self) -> None:
        """What the numbers mean once the end has come."""
        usage = self.usage
        if not self._said and self._row.usage == "estimated" and usage is not None:
            # Of an empty text it counts the BOS.
            self.usage = Usage(usage.prompt, 0, usage.cached)
        if not self._said and self._row.empty and usage is None:
            # The token that ended it.
            self.usage = Usage(completion=1)
        self.complete = self._row.usage == "untold" or (usage is not None and usage.prompt > 0)


def usage_of(told: dict[str, Any]) -> Usage:
    """The numbers of tokens; `cached` only where it is told."""
    details = told.get("prompt_tokens_details")
    cached = count_in(details, "cached_tokens") if isinstance(details, dict) else None
    prompt, completion = count_in(told, "prompt_tokens"), count_in(told, "completion_tokens")
    return Usage(prompt or 0, completion or 0, cached)
