"""Where model servers listen when nobody told them otherwise."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

# In the order in which they are named and chosen: KoboldCpp before Ollama, which it imitates.
PORTS: Final = {
    5001: "KoboldCpp",
    8080: "llama-server",
    9931: "llama-server",
    11434: "Ollama",
    1234: "LM Studio",
    5000: "text-generation-webui",
    8000: "vLLM or llama-cpp-python's server",
    30000: "SGLang",
}
_SECONDS: Final = 2.0


async def answering(ports: tuple[int, ...] = tuple(PORTS)) -> list[int]:
    """The ports of this machine on which something accepts connections, in their order."""
    found = await asyncio.gather(*(_accepts(port) for port in ports))
    return [port for port, accepts in zip(ports, found, strict=True) if accepts]


async def _accepts(port: int) -> bool:
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
