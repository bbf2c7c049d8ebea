"""Whether a function may run: allowed, asked about or denied, and what a person has answered.

The configuration's `deny` always holds. Then comes what the person has answered, then what else
the configuration says, then what the function says of itself. Of several patterns that match,
the one that says most about the call holds, and of those that say the same the strictest: only
that a person is not asked again about what was answered later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from llmgate.agent.functions.patterns import Pattern, as_text, literal
from llmgate.agent.functions.spec import Function, Rule
from llmgate.agent.functions.telling import told
from llmgate.errors import Conflict
from llmgate.storage.base import Records

Choice = Literal["once", "session", "always", "deny", "never"]

_STRICT: tuple[Rule, ...] = ("allow", "ask", "deny")
_TRIES = 20


class Question(msgspec.Struct, frozen=True):
    """What a person is asked: may this agent call this function with these arguments?

    `pattern` is what an answer for longer than this call would hold for.
    """

    agent: str
    function: str
    arguments: dict[str, Any]
    pattern: str


class Answer(msgspec.Struct, frozen=True):
    """`once`, `session` and `always` allow it; `deny` refuses it now and `never` from now on.

    `pattern` is another one than the question's, for the answers that are remembered.
    """

    choice: Choice
    pattern: str | None = None


class Approver(Protocol):
    """Somebody who can be asked."""

    async def ask(self, question: Question) -> Answer:
        """Wait for the answer."""
        ...


class Decision(msgspec.Struct, frozen=True):
    """Whether the call may happen; `reason` is for the model where it may not."""

    allowed: bool
    reason: str = ""


class Remembered(msgspec.Struct, frozen=True):
    """An answer that still holds: `kept` tells those in the store from those of the session."""

    pattern: str
    rule: Rule
    kept: bool


class Approvals:
    """The rules for one agent: the configuration's, the person's answers, and each function's."""

    def __init__(
        self, records: Records, agent: str, rules: Mapping[str, Rule] | None = None
    ) -> None:
        """`rules` are those of `agent.approvals`. Raises ConfigError for one that can't be read."""
        self._records = records
        self._agent = agent
        self._key = f"system/approvals/{agent}"
        self._rules = {
            Pattern.parse(text, "agent.approvals: "): rule for text, rule in (rules or {}).items()
        }
        self._session: dict[Pattern, Rule] = {}

    async def decide(
        self, function: Function, arguments: Mapping[str, Any], approver: Approver | None
    ) -> Decision:
        """Whether a call may happen; asks the approver if nothing else decides it.

        `arguments` are those that the function will run with. Without an approver, what would
        have to be asked about is denied.
        """
        name = function.name
        configured = _strongest(self._rules, name, arguments)
        if configured is not None and configured[1] == "deny":
            return Decision(False, f"the configuration denies {configured[0]}.")
        answered = _answer([*(await self._kept()).items(), *self._session.items()], name, arguments)
        if answered is not None:
            if answered[1] == "deny":
                return Decision(False, "the user has denied this for good. Don't try it again.")
            if answered[1] == "ask":
                return await self._asked(
                    function, arguments, approver, _named(answered, configured)
                )
            # "Always" for much does not answer what the configuration wants asked in particular.
            if configured is None or answered[0].weight >= configured[0].weight:
                return Decision(True)
        rule = configured[1] if configured is not None else function.default
        if rule == "allow":
            return Decision(True)
        if rule == "deny":
            return Decision(False, f"{name} is denied, as the configuration does not allow it.")
        return await self._asked(function, arguments, approver, _named(configured))

    async def remembered(self) -> tuple[Remembered, ...]:
        """The answers that hold, those of this session last."""
        kept = [Remembered(str(p), rule, True) for p, rule in (await self._kept()).items()]
        now = [Remembered(str(p), rule, False) for p, rule in self._session.items()]
        return (*kept, *now)

    async def remember(self, pattern: str, rule: Rule, *, keep: bool = True) -> None:
        """Let a pattern be allowed, asked about or denied from now on; `keep`: beyond this session.

        Raises ConfigError for what is not a pattern.
        """
        parsed = Pattern.parse(pattern)
        if not keep:
            self._session[parsed] = rule
            return
        await self._change({parsed: rule}, ())
        self._session.pop(parsed, None)

    async def forget(self, pattern: str) -> bool:
        """Take an answer back; whether there was one."""
        parsed = Pattern.parse(pattern)
        found = self._session.pop(parsed, None) is not None
        return await self._change({}, (parsed,)) or found

    def strangers(self, known: Iterable[str]) -> tuple[str, ...]:
        """The configuration's patterns that match none of the known functions, for a warning."""
        names = tuple(known)
        return tuple(
            str(pattern)
            for pattern in self._rules
            if not any(Pattern(pattern.name).matches(name, {}) for name in names)
        )

    async def _asked(
        self,
        function: Function,
        arguments: Mapping[str, Any],
        approver: Approver | None,
        named: Iterable[str],
    ) -> Decision:
        name = function.name
        if approver is None:
            return Decision(
                False,
                f"{name} needs the user's approval, and nobody is there to give it. "
                "Go on without it, or tell the user.",
            )
        pattern = str(_suggested(function, arguments, named))
        try:
            answer = await approver.ask(Question(self._agent, name, dict(arguments), pattern))
        # Who can't be asked has not agreed.
        except Exception as error:  # noqa: BLE001
            return Decision(False, f"the user could not be asked ({told(error)}).")
        chosen = answer.pattern or pattern
        match answer.choice:
            case "once":
                return Decision(True)
            case "session" | "always":
                await self.remember(chosen, "allow", keep=answer.choice == "always")
                return Decision(True)
            case "never":
                await self.remember(chosen, "deny")
        return Decision(False, "the user did not allow it.")

    async def _kept(self) -> dict[Pattern, Rule]:
        return _read(document.value) if (document := await self._records.get(self._key)) else {}

    async def _change(self, new: Mapping[Pattern, Rule], gone: Iterable[Pattern]) -> bool:
        """Change what is kept; whether anything of `gone` was there."""
        gone = set(gone)
        for attempt in range(_TRIES):
            document = await self._records.get(self._key)
            kept = _read(document.value) if document else {}
            found = bool(gone & kept.keys())
            if not new and not found:
                return False
            after = {p: rule for p, rule in kept.items() if p not in gone and p not in new}
            after |= new
            value = {"rules": {str(pattern): rule for pattern, rule in after.items()}}
            try:
                await self._records.put(
                    self._key, value, expected=document.version if document else 0
                )
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
            else:
                return found
        return False


def _read(value: Any) -> dict[Pattern, Rule]:
    return {Pattern.parse(text): rule for text, rule in value["rules"].items() if rule in _STRICT}


def _strongest(
    rules: Mapping[Pattern, Rule], name: str, arguments: Mapping[str, Any]
) -> tuple[Pattern, Rule] | None:
    matching = [
        (pattern, rule)
        for pattern, rule in rules.items()
        if pattern.matches(name, arguments, loosely=rule != "allow")
    ]
    return max(matching, key=lambda item: (item[0].weight, _STRICT.index(item[1])), default=None)


def _named(*rules: tuple[Pattern, Rule] | None) -> tuple[str, ...]:
    """The arguments that the rules look at: an answer is for calls that agree in them."""
    return tuple(name for rule in rules if rule is not None for name, _ in rule[0].arguments)


def _answer(
    rules: Sequence[tuple[Pattern, Rule]], name: str, arguments: Mapping[str, Any]
) -> tuple[Pattern, Rule] | None:
    """The person's answer that holds: of those that say the same a refusal, else the last one."""
    weights = [
        (pattern.weight, rule == "deny", number)
        for number, (pattern, rule) in enumerate(rules)
        if pattern.matches(name, arguments, loosely=rule != "allow")
    ]
    return rules[max(weights)[2]] if weights else None


def _suggested(function: Function, arguments: Mapping[str, Any], named: Iterable[str]) -> Pattern:
    """What an answer should hold for: calls that agree with this one where it matters."""
    matters = dict.fromkeys([*function.bound, *named])
    values = {
        name: _site(arguments[name]) if name == "url" else literal(as_text(arguments[name]))
        for name in matters
        if name in arguments
    }
    return Pattern.exactly(function.name, values)


def _site(url: Any) -> str:
    """All pages of the site that a URL is on, or just the URL if that is not plain to see."""
    text = as_text(url)
    try:
        parts = urlsplit(text)
    except ValueError:
        return literal(text)
    start = f"{parts.scheme}://{parts.netloc}/"
    # What follows the host has to be a slash: else the host of another URL could go on there.
    plain = parts.netloc and not set(parts.netloc) & set("@\\%") and text.startswith(start)
    return f"{literal(start)}*" if plain else literal(text)
