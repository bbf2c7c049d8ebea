"""What program answers at an address, told by what only that program says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec

_SECONDS: Final = 3.0
_MOST_BYTES: Final = 1 << 20


class Identity(msgspec.Struct, frozen=True):
    """A server: `backend` is our name for how it is asked, `kind` the program's own.

    `loading`: it is up, its model is not.
    """

    backend: str
    kind: str
    version: str = ""
    loading: bool = False


async def reached(url: str, transport: httpx.AsyncBaseTransport | None = None) -> str:
    """Why nothing answers at an address, empty where something does."""
    try:
        async with httpx.AsyncClient(
            timeout=_SECONDS, trust_env=False, transport=transport
        ) as client:
            await client.get(url)
    except httpx.TimeoutException:
        return f"no answer within {_SECONDS:g} seconds"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    return ""


class Page(msgspec.Struct, frozen=True):
    """What an address answered: `value` is its JSON, None where that is none."""

    status: int
    text: str
    value: Any

    def has(self, key: str) -> bool:
        """Whether it is an object with that key."""
        return isinstance(self.value, dict) and key in self.value


Get = Callable[[str], Any]


async def identify(url: str, transport: httpx.AsyncBaseTransport | None = None) -> Identity | None:
    """The server at an address (without `/v1`), None where nothing there is known.

    Servers imitate each other, so the order is part of the answer: KoboldCpp speaks Ollama's and
    llama-server's routes too, and all of them OpenAI's.
    """
    async with httpx.AsyncClient(
        timeout=_SECONDS, trust_env=False, transport=transport, follow_redirects=False
    ) as client:
        pages: dict[str, Page | None] = {}

        async def get(path: str) -> Page | None:
            if path not in pages:
                pages[path] = await _page(client, url + path)
            return pages[path]

        for look in _LOOKS:
            if (found := await look(get)) is not None:
                return found
    return None


async def _page(client: httpx.AsyncClient, url: str) -> Page | None:
    """What stands there; None if nothing answers."""
    try:
        async with client.stream("GET", url) as response:
            data = b""
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MOST_BYTES:
                    break
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        value = None
    return Page(response.status_code, data.decode("utf-8", "replace"), value)


async def _kobold(get: Get) -> Identity | None:
    page = await get("/api/extra/version")
    if page is None or not page.has("result") or page.value["result"] != "KoboldCpp":
        return None
    return Identity("koboldcpp", "KoboldCpp", str(page.value.get("version", "")))


async def _ollama(get: Get) -> Identity | None:
    page = await get("/")
    if page is None or "ollama is running" not in page.text.lower():
        return None
    version = await get("/api/version")
    told = version.value["version"] if version is not None and version.has("version") else ""
    return Identity("ollama", "Ollama", str(told))


async def _llama_server(get: Get) -> Identity | None:
    page = await get("/props")
    if page is None:
        return None
    if page.status == 503 and "loading model" in page.text.lower():
        return Identity("llamacpp", "llama-server", loading=True)
    if not page.has("default_generation_settings"):
        return None
    return Identity("llamacpp", "llama-server", str(page.value.get("build_info", "")))


async def _sglang(get: Get) -> Identity | None:
    page = await get("/get_model_info")
    if page is None or not page.has("model_path"):
        return None
    return Identity("sglang", "SGLang")


async def _lm_studio(get: Get) -> Identity | None:
    page = await get("/api/v0/models")
    listed = page.value.get("data") if page is not None and page.has("data") else None
    if not isinstance(listed, list):
        return None
    # Its older listing tells of each model whether it is loaded.
    if listed and not (isinstance(listed[0], dict) and "state" in listed[0]):
        return None
    return Identity("lmstudio", "LM Studio")


async def _textgen(get: Get) -> Identity | None:
    page = await get("/v1/internal/model/info")
    if page is None or not page.has("model_name"):
        return None
    return Identity("textgen", "text-generation-webui")


async def _old_textgen(get: Get) -> Identity | None:
    page = await get("/api/v1/model")
    if page is None or not page.has("result"):
        return None
    return Identity("textgen-legacy", "text-generation-webui before November 2023")


async def _llama_cpp_python(get: Get) -> Identity | None:
    page = await get("/openapi.json")
    info = page.value.get("info") if page is not None and page.has("info") else None
    if not isinstance(info, dict) or "llama.cpp" not in str(info.get("title", "")):
        return None
    version = str(info.get("version", ""))
    return Identity("llama-cpp-python", "llama-cpp-python's server", version)


async def _openai_style(get: Get) -> Identity | None:
    """What is left is told apart by who owns its models; nobody else's chat is known to us."""
    page = await get("/v1/models")
    listed = page.value.get("data") if page is not None and page.has("data") else None
    if not isinstance(listed, list):
        return None
    owners = {entry.get("owned_by") for entry in listed if isinstance(entry, dict)}
    if "llmgate" in owners:
        return Identity("openai-chat", "llmgate")
    if "vllm" in owners:
        version = await get("/version")
        told = version.value["version"] if version is not None and version.has("version") else ""
        return Identity("vllm", "vLLM", str(told))
    return Identity("openai-chat", "a server with OpenAI's API")


_LOOKS: Final = (
    _kobold,
    _ollama,
    _llama_server,
    _sglang,
    _lm_studio,
    _textgen,
    _old_textgen,
    _llama_cpp_python,
    _openai_style,
)
