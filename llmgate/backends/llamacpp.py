"""llama.cpp's own server, over its `POST /completion`.

API: https://github.com/ggml-org/llama.cpp/tree/master/tools/server
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from llmgate.backends.fields import count_in, string_in
from llmgate.backends.http import HTTPBackend
from llmgate.backends.llamacpp_json import AnswerReader, body_of, template_of
from llmgate.backends.slots import Slots
from llmgate.config import ModelSettings
from llmgate.errors import BackendError
from llmgate.types import Caps, Delta, Prompt


class LlamaCppBackend(HTTPBackend):
    """Completes prompts with a running llama-server.

    Its control tokens stay invisible, but for those that a prompt preserves; the one that ends
    an answer always does. It offers no lazy grammars: where the token that completes a trigger
    goes on in a way that the grammar refuses, llama-server gives up with status 500 in the
    middle of the answer. Grammars that hold from the beginning cost it no time.
    """

    kind = "llama-server"
    example = "http://127.0.0.1:8080"
    path = "/completion"
    known = Caps(grammar=True, tokenize=True, schema=True)

    def __init__(
        self, model: str, settings: ModelSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(model, settings, transport)
        self._added_bos = ""
        self._slots = Slots()
        self._places = 1

    def body_of(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request to `/completion`."""
        return {**body_of(prompt, self._added_bos), **self.settings.extra}

    def probe_body(self) -> dict[str, Any]:
        """The same, without taking the place of a prompt in the cache."""
        return {**super().probe_body(), "cache_prompt": False}

    def reader(self, prompt: Prompt) -> AnswerReader:
        """A reader of the replies of `/completion`."""
        return AnswerReader(prompt.preserved)

    async def count(self, text: str) -> int:
        """The number of tokens of `text`, by the server's tokenizer."""
        body = {"content": text, "add_special": False, "parse_special": True}
        reply = await self.server.ask("POST", "/tokenize", body)
        if not isinstance(tokens := reply.get("tokens"), list):
            raise BackendError(f"The server at {self.server.url} sent no tokens: {reply!r:.300}")
        return len(tokens)

    async def health(self) -> None:
        """Return if the server is up and its model loaded. Raises `BackendError`s."""
        await self.server.ask("GET", "/health")

    async def learn(self) -> Caps:
        """Context and template, and which BOS the server adds by itself."""
        props = await self.server.ask_if_allowed("GET", "/props")
        bos = string_in(props, "bos_token") or ""
        # What is added to an empty text; to a text that has a BOS it is added all the same.
        if bos and (added := await self._tokens("", special=True)):
            alone = await self._tokens(bos, special=False)
            self._added_bos = bos if not alone or alone[0] == added[0] else ""
        self._places = count_in(props, "total_slots") or 1
        settings = props.get("default_generation_settings")
        context = count_in(settings, "n_ctx") if isinstance(settings, dict) else None
        return msgspec.structs.replace(
            self.caps, context=context or self.caps.context, template=template_of(props)
        )

    def _answered(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        if prompt.slot is None or self._places < 2:
            return super()._answered(prompt)
        return self._pinned(prompt, prompt.slot)

    async def _pinned(self, prompt: Prompt, conversation: str) -> AsyncGenerator[Delta, None]:
        """The answer, of the slot that holds the conversation so far."""
        slot, reader, body = self._slots.of(conversation), self.reader(prompt), self.body_of(prompt)
        if slot is not None:
            body.setdefault("id_slot", slot)
        try:
            with self._slots.using(slot):
                async with aclosing(self.answer(self.path, body, reader, prompt.stop)) as deltas:
                    async for delta in deltas:
                        yield delta
        finally:
            if reader.slot is not None:
                self._slots.answered(conversation, reader.slot)

    async def _tokens(self, text: str, *, special: bool) -> list[Any]:
        """The tokens of a text, as far as the server tells."""
        question = {"content": text, "add_special": special}
        tokens = (await self.server.ask_if_allowed("POST", "/tokenize", question)).get("tokens")
        return tokens if isinstance(tokens, list) else []
