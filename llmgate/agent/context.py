"""What a function of an agent is given: the agent's memory, its voice and what it may reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from llmgate.agent.functions.fetching import Fetcher
    from llmgate.agent.functions.files import Sandbox
    from llmgate.memory.archival import Archival
    from llmgate.memory.core import Core
    from llmgate.memory.recall import Recall


class Context(msgspec.Struct, frozen=True):
    """The first argument of a function whose first parameter is called `agent` (or `self`).

    `call` is the id of this call: memory that is written under it is written once, even if the
    call is run again after a crash. `now` is the agent's clock. `say` tells the person
    something, `pause` stops timed heartbeats for minutes, and `ask` sends a message to a
    configured model (None: the one meant for that) and waits for its answer. `files` is the
    folder for text files, `web` what fetches pages; None where there is none.

    A function that is not `async` runs in a thread: there the methods of all these return what
    an `async` function would await.
    """

    name: str
    core: Core
    recall: Recall
    archival: Archival
    call: str
    now: Callable[[], datetime]
    say: Callable[[str], None]
    pause: Callable[[int], None]
    ask: Callable[[str | None, str], Awaitable[str]]
    files: Sandbox | None = None
    web: Fetcher | None = None
