"""Suites of cases: those that come with llmgate by name, one's own from JSONL or YAML files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmgate.bench.cases import Case, Expect, ExpectedCall, Turn
from llmgate.errors import ConfigError, UnknownName, suggestion
from llmgate.types import Message, Tool, ToolCall, ToolChoice

_FOLDER = Path(__file__).parent / "suites"
_YAML = (".yaml", ".yml")
_FILES = (".jsonl", ".json", *_YAML)
_BFCL = {"question", "function"}


def shipped() -> tuple[str, ...]:
    """The names of the suites that come with llmgate."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.jsonl")))


def load_all(names: Iterable[str], limit: int | None = None) -> tuple[Case, ...]:
    """The first `limit` cases of each of several suites; all shipped ones where none is named.

    Raises `ConfigError` as `load` does, and where two cases have the same suite and id.
    """
    cases = [case for name in list(names) or shipped() for case in load(name)[:limit]]
    seen: set[tuple[str, str]] = set()
    for case in cases:
        if (case.suite, case.id) in seen:
            raise ConfigError(
                f"there are two cases {case.id!r} in suites named {case.suite!r}.",
                hint="Give one of them another `id`, or `suite`.",
            )
        seen.add((case.suite, case.id))
    return tuple(cases)


def load(name: str) -> tuple[Case, ...]:
    """The cases of a suite that comes with llmgate, or in a file.

    A file is JSONL (a case a line) or YAML (a list of cases); lines of BFCL are known by their
    fields. Raises `ConfigError` that names the file, the case and the field, and `UnknownName` for
    a name.
    """
    if Path(name).suffix.lower() in _FILES or "/" in name or "\\" in name:
        path = Path(name).expanduser()
    else:
        if name not in shipped():
            raise UnknownName("suite", name, shipped())
        path = _FOLDER / f"{name}.jsonl"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the suite {path}: {error}.") from error
    cases: list[Case] = []
    for where, data in _yaml(path, text) if path.suffix in _YAML else _lines(path, text):
        if not cases and isinstance(data, dict) and data.keys() >= _BFCL:
            return _bfcl(path)
        cases.append(_case(data, path.stem, where))
    if not cases:
        raise ConfigError(f"there is no case in the suite {path}.")
    return tuple(cases)


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    # Not splitlines: that also ends lines at characters that may stand in JSON strings.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{path}, line {number}", msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            hint = "A .jsonl file has one case a line." if number == 1 else None
            raise ConfigError(f"{path}, line {number}: {error}.", hint=hint) from error


def _yaml(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, list):
        raise ConfigError(f"{path} must be a list of cases, not a {type(data).__name__}.")
    for number, each in enumerate(data, 1):
        where = f"{path}, case {number}"
        try:
            # What looks like a date is one in YAML; in arguments it is a text.
            yield where, msgspec.json.decode(msgspec.json.encode(each))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{where}: {error}.") from error


def _bfcl(path: Path) -> tuple[Case, ...]:
    from llmgate.bench import bfcl

    return bfcl.read(path)


def _case(data: Any, suite: str, where: str) -> Case:
    """One case. Raises `ConfigError` that names the field at fault."""
    if isinstance(data, dict) and isinstance(data.get("id"), str):
        where = f"{where}, {data['id']!r}"
    _check_keys(data, where)
    try:
        case = msgspec.convert(data, Case)
    except (msgspec.ValidationError, RecursionError) as error:
        problem, _, field = str(error).partition(" - at `$.")
        named = f" {field.rstrip('`')}:" if field else ""
        raise ConfigError(f"{where}:{named} {problem.replace('`', '')}.") from error
    _check(case, where)
    return case if case.suite else msgspec.structs.replace(case, suite=suite)


def _check_keys(data: Any, where: str) -> None:
    """Refuse fields that nobody reads: a misspelt one would be a case that asks something else."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: a case must be an object with fields, not {data!r:.80}.")
    _known(data, Case, where, "")
    parts: list[tuple[Any, type[msgspec.Struct], str]] = [
        (data.get("choice"), ToolChoice, "choice."),
        *_each(data.get("messages"), Message, "messages"),
        *_each(data.get("tools"), Tool, "tools"),
        *_expect(data.get("expect"), "expect"),
    ]
    for place, turn, name in _each(data.get("turns"), Turn, "turns"):
        parts.append((place, turn, name))
        if isinstance(place, dict):
            parts += _each(place.get("messages"), Message, f"{name}messages")
            parts += _expect(place.get("expect"), f"{name}expect")
    for message, struct, name in list(parts):
        if struct is Message and isinstance(message, dict):
            parts += _each(message.get("tool_calls"), ToolCall, f"{name}tool_calls")
    for part, struct, name in parts:
        if isinstance(part, dict):
            _known(part, struct, where, name)


def _expect(data: Any, name: str) -> list[tuple[Any, type[msgspec.Struct], str]]:
    calls = data.get("calls") if isinstance(data, dict) else None
    return [(data, Expect, f"{name}."), *_each(calls, ExpectedCall, f"{name}.calls")]


def _each(
    data: Any, struct: type[msgspec.Struct], name: str
) -> list[tuple[Any, type[msgspec.Struct], str]]:
    if not isinstance(data, list):
        return []
    return [(each, struct, f"{name}[{number}].") for number, each in enumerate(data)]


def _known(data: dict[Any, Any], struct: type[msgspec.Struct], where: str, name: str) -> None:
    for key in data:
        if key not in struct.__struct_fields__:
            raise ConfigError(
                f"{where}: unknown field {f'{name}{key}'!r}.",
                hint=suggestion(str(key), struct.__struct_fields__),
            )


def _check(case: Case, where: str) -> None:
    """What the types of the fields don't say. Raises `ConfigError`."""
    if not case.id.strip():
        raise ConfigError(f"{where}: id is empty.")
    if not case.messages:
        raise ConfigError(f"{where}: there are no messages.")
    if len({tool.name for tool in case.tools}) < len(case.tools):
        raise ConfigError(f"{where}: two tools have the same name.")
    if case.choice.name is not None:
        _check_tool(case.choice.name, case.tools, where, "choice.name")
    _check_expect(case.expect, case.tools, where, "expect")
    for number, turn in enumerate(case.turns):
        name = f"turns[{number}]"
        if not turn.results and not turn.messages:
            raise ConfigError(f"{where}: {name} has neither results nor messages.")
        _check_expect(turn.expect, case.tools, where, f"{name}.expect")
        before = case.turns[number - 1].expect if number else case.expect
        if turn.results and len(turn.results) != len(before.calls):
            raise ConfigError(
                f"{where}: {name} has {len(turn.results)} results for {len(before.calls)} calls."
            )


def _check_expect(expect: Expect, tools: Sequence[Tool], where: str, name: str) -> None:
    if expect.kind == "calls" and not expect.calls:
        raise ConfigError(f"{where}: {name}.calls is empty.", hint='Or is its kind "no_call"?')
    if expect.kind != "calls" and expect.calls:
        raise ConfigError(f"{where}: {name}.calls is for the kind 'calls', not {expect.kind!r}.")
    for number, call in enumerate(expect.calls):
        _check_tool(call.name, tools, where, f"{name}.calls[{number}].name")


def _check_tool(wanted: str, tools: Sequence[Tool], where: str, name: str) -> None:
    names = [tool.name for tool in tools]
    if wanted not in names:
        raise ConfigError(
            f"{where}: {name} is {wanted!r}, which none of the tools is named.",
            hint=suggestion(wanted, names),
        )
