"""What happens to an agent, packaged as the JSON that it reads.

The keys, their order and the format of times are those of MemGPT, so that prompts, models and
old conversations fit.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import ClassVar

import msgspec

from llmgate.memory.text import storable

TIME = "%Y-%m-%d %I:%M:%S %p %Z%z"


class UserMessage(msgspec.Struct, frozen=True):
    """A person says something; `name` is whose words they are, where several people talk."""

    kind: ClassVar[str] = "user_message"

    text: str
    name: str | None = None

    def packaged(self, now: datetime) -> str:
        """The message as the agent reads it."""
        named = {} if self.name is None else {"name": self.name}
        return _packaged({"type": self.kind, "message": self.text, "time": shown(now), **named})


class Heartbeat(msgspec.Struct, frozen=True):
    """The agent may go on: because it asked to, or because time has passed."""

    kind: ClassVar[str] = "heartbeat"

    reason: str = "Automated timer"

    def packaged(self, now: datetime) -> str:
        """The event as the agent reads it."""
        return _packaged({"type": self.kind, "reason": self.reason, "time": shown(now)})


class Login(msgspec.Struct, frozen=True):
    """A person has come (back). Without `last_login` it is filled in with the last time."""

    kind: ClassVar[str] = "login"

    last_login: str | None = None

    def packaged(self, now: datetime) -> str:
        """The event as the agent reads it."""
        last = self.last_login or "Never (first login)"
        return _packaged({"type": self.kind, "last_login": last, "time": shown(now)})


class Alert(msgspec.Struct, frozen=True):
    """The system has something to say: a warning, a summary, a change from outside."""

    kind: ClassVar[str] = "system_alert"

    text: str

    def packaged(self, now: datetime) -> str:
        """The event as the agent reads it."""
        return _packaged({"type": self.kind, "message": self.text, "time": shown(now)})


Event = UserMessage | Heartbeat | Login | Alert


def package_result(ok: bool, message: str, now: datetime) -> str:
    """What a function returned, or why it failed, as the agent reads it."""
    status = "OK" if ok else "Failed"
    return _packaged({"status": status, "message": message, "time": shown(now)})


def shown(at: datetime) -> str:
    """A time as agents read it, in the zone that `at` is in; a naive time has no zone."""
    return at.strftime(TIME).strip()


def _packaged(fields: dict[str, str]) -> str:
    return json.dumps({key: storable(value) for key, value in fields.items()}, ensure_ascii=False)
