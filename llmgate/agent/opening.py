"""A new agent: its memory, and the first messages that it finds there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from llmgate.agent import presets, prompt
from llmgate.agent.events import Login, package_result
from llmgate.agent.kept import Added
from llmgate.agent.prompt import Counts
from llmgate.agent.state import AgentState, Pending
from llmgate.errors import Conflict, RequestError
from llmgate.memory import names
from llmgate.memory.conversation import Conversation, Window
from llmgate.memory.core import USER, Core
from llmgate.memory.text import SAY
from llmgate.types import Message, ToolCall

if TYPE_CHECKING:
    from llmgate.agent.home import Home

# What an agent finds that it has thought and said before anybody came: an example to go by.
_THOUGHT = "I am awake. My memory is in place, and I know who I am. Somebody may come soon."
_SAID = "Hello. I am here whenever you want to talk."
_CALL = "boot00000"


async def create(
    home: Home,
    name: str,
    *,
    preset: str | None,
    persona: str | None,
    human: str | None,
    model: str | None,
    blocks: Mapping[str, str],
) -> None:
    """Store a new agent. Its login event waits for an answer from then on.

    Raises `RequestError` for a name that can't be or is taken, `UnknownName` and `ConfigError`.
    """
    names.check_name(name)
    settings, user = home.settings.agent, home.settings.user_folder
    if model is not None:
        home.check_model(model)
    chosen = presets.load(preset or settings.preset, user, home.functions)
    texts = {
        "persona": presets.persona(persona or settings.persona, user),
        "human": presets.human(human or settings.human, user),
        **blocks,
    }
    now = home.now()
    core = Core(home.records, {}, by=USER, clock=home.now)
    conversation = Conversation(home.records, name, clock=home.now)
    try:
        async with home.records.transaction() as tx:
            if await tx.get(names.state(name)) is not None:
                raise _taken(name)
            made = [await core.create(label, text, tx=tx) for label, text in texts.items()]
            head = prompt.head(chosen.text, made, layout=settings.layout, counts=Counts(), now=now)
            state = AgentState(
                name,
                now,
                chosen.text,
                chosen.functions,
                core.ids,
                preset=chosen.name,
                persona=persona or settings.persona,
                human=human or settings.human,
                model=model,
                seen=dict.fromkeys(core.ids, 1),
                shown=dict.fromkeys(core.ids, 1),
                last_seen=now,
                used_at=now,
                pending=Pending("think", Login.kind),
            )
            tx.put(names.state(name), msgspec.to_builtins(state))
            logged = await conversation.append(tx, *_first_messages(chosen.functions, now))
            conversation.put_window(tx, Window(head, logged[0].position))
    except Conflict:
        raise _taken(name) from None


def _first_messages(functions: tuple[str, ...], now: datetime) -> list[Added]:
    login: Added = (f"event:{Login.kind}", Message("user", Login().packaged(now)))
    if SAY not in functions:
        return [login]
    call = ToolCall(_CALL, SAY, msgspec.json.encode({"message": _SAID}).decode())
    result = Message("tool", package_result(True, "None", now), tool_call_id=_CALL, name=SAY)
    return [("boot", Message("assistant", _THOUGHT, (call,))), ("boot", result), login]


def _taken(name: str) -> RequestError:
    return RequestError(
        f"there is an agent {name!r} already.",
        hint="Open it, or choose another name.",
        param="name",
    )
