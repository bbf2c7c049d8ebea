"""What lines with a slash do."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from llmgate.cli.agent import looking, memory_commands
from llmgate.cli.agent.wrapping import wrapped
from llmgate.errors import LlmgateError, RequestError, UnknownModel, UnknownName

if TYPE_CHECKING:
    from llmgate.cli.agent.session import Session
    from llmgate.gateway import Gateway

_RULES = "/approve FUNCTION allow, deny, ask or forget."
# Where the meanings of commands begin.
_COLUMN = 26

Handler = Callable[["Session", str], Awaitable[None]]


class Command(msgspec.Struct, frozen=True):
    """A command: what may stand behind it, and what it does."""

    arguments: str
    meaning: str
    run: Handler


async def run(session: Session, line: str) -> None:
    """Do what the line says. What can't be done is one line."""
    name, _, argument = line.partition(" ")
    name = ALIASES.get(name, name)
    if (command := COMMANDS.get(name)) is None:
        session.display.line(
            f"There is no {name}. {_closest(name)}/help lists what there is.", style="red"
        )
        return
    try:
        await command.run(session, argument.strip())
    except LlmgateError as error:
        session.failed = True
        session.display.error(error)


def _closest(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"Did you mean {close[0]}? " if close else ""


async def _help(session: Session, _: str) -> None:
    rows = [
        (f"{name} {command.arguments}".strip(), command.meaning)
        for name, command in COMMANDS.items()
    ]
    width = session.display.out.width
    column = _COLUMN if width >= 2 * _COLUMN else 4
    for left, right in rows:
        if len(left) + 2 > column:
            session.display.answer(left)
            left = ""
        meaning = wrapped(right, width - column).replace("\n", "\n" + " " * column)
        session.display.answer(f"{left:{column}}{meaning}", exact=True)
    session.display.answer(
        "Ctrl-C stops an answer, Ctrl-D leaves, Alt-Enter starts a new line, "
        "Tab completes, the up key brings earlier lines back."
    )


async def _exit(session: Session, _: str) -> None:
    session.leaving = True


async def _save(session: Session, _: str) -> None:
    session.display.answer(
        f"Everything is saved as it happens: {session.agent.name} is as you see it."
    )


async def _several_lines(session: Session, _: str) -> None:
    reader = session.reader
    reader.multiline = not reader.multiline
    session.display.answer(
        "Several lines: on. Enter makes a new line, Alt-Enter (or Esc Enter) sends."
        if reader.multiline
        else "Several lines: off."
    )


async def _pop(session: Session, argument: str) -> None:
    count = _number(argument, 3)
    taken = await session.agent.pop(count)
    session.display.answer(
        f"Took back {_messages(taken)}. What happened stays in the log of steps."
        if taken
        else "There is nothing that can be taken back."
    )


async def _undo(session: Session, _: str) -> None:
    text = await session.agent.undo()
    if text is None:
        session.display.answer("There is no message of yours to take back.")
    else:
        session.display.answer(f"Took back all since: {text}")


async def _retry(session: Session, _: str) -> None:
    await session.again()


async def _rewrite(session: Session, argument: str) -> None:
    await session.agent.rewrite(_needed("/rewrite", argument))
    session.display.answer("It has said that instead.")


async def _rethink(session: Session, argument: str) -> None:
    await session.agent.rethink(_needed("/rethink", argument))
    session.display.answer("It has thought that instead.")


async def _summarize(session: Session, argument: str) -> None:
    if argument:
        await _recompress(session, argument)
        return
    summary = await session.agent.compact(watch=session.display)
    session.display.quiet()
    marks = session.display.marks
    if summary is None:
        session.display.answer(
            f"{marks.failed}There is too little in the window to summarise.", style="red"
        )
        return
    count = summary.last - summary.first + 1
    if summary.how == "dropped":
        session.display.answer(
            f"{marks.failed}The model can't summarise: {_messages(count)} have left the window by "
            "now, and not all of them are in a summary. All of them stay in recall memory.",
            style="red",
        )
        return
    session.display.answer(
        f"{marks.ok}Summarised. {_messages(count).capitalize()} have left the window by now:",
        style="green",
    )
    session.display.answer(summary.text)


async def _recompress(session: Session, argument: str) -> None:
    if argument != "again":
        raise RequestError(
            f"/summarize {argument}: there is only `again`.",
            hint="That makes the summary anew from all the messages that it stands for.",
        )
    summary = await session.agent.recompress()
    marks = session.display.marks
    if summary is None:
        session.display.answer(
            f"{marks.failed}There is no summary yet, or the model gives no other one.", style="red"
        )
        return
    count = summary.last - summary.first + 1
    session.display.answer(f"{marks.ok}Summarised anew, from {_messages(count)}:", style="green")
    session.display.answer(summary.text)


async def _heartbeat(session: Session, _: str) -> None:
    await session.heartbeat()


async def _memory_warning(session: Session, _: str) -> None:
    await session.warn_of_memory()


async def _attach(session: Session, argument: str) -> None:
    agent = session.agent
    sources = await agent.home.sources()
    if not argument:
        if not sources:
            session.display.answer("There are no sources.")
        for name in sources:
            session.display.answer(f"{'*' if name in agent.state.sources else ' '} {name}")
        return
    if argument.startswith("-"):
        name = argument[1:].strip()
        await agent.detach(name)
        session.display.answer(f"{agent.name} does not look into {name} any more.")
        return
    await agent.attach(argument)
    session.display.answer(f"{agent.name} looks into {argument} from now on.")


async def _model(session: Session, argument: str) -> None:
    agent = session.agent
    if argument:
        await agent.set_model(argument)
    names = agent.home.gateway.names
    behind = None if agent.model in names else _behind(agent.home.gateway, agent.model)
    for name in names:
        if behind is not None and name == behind:
            session.display.answer(f"* {name} (as {agent.model})")
        else:
            session.display.answer(f"{'*' if name == agent.model else ' '} {name}")
    if agent.model not in names and behind is None:
        session.display.answer(f"* {agent.model}")


def _behind(gateway: Gateway, model: str) -> str | None:
    """The configured model that a pattern among its aliases stands for, if it is just one."""
    try:
        route = gateway.route(model)
    except UnknownModel:
        return None
    return next((name for name, each in gateway.routes.items() if each is route), None)


async def _approve(session: Session, argument: str) -> None:
    approvals = session.agent.approvals
    words = argument.rsplit(maxsplit=1)
    if not words:
        kept = await approvals.remembered()
        if not kept:
            session.display.answer("Nothing was answered for longer than once.")
        for answer in kept:
            how_long = "" if answer.kept else " (this session)"
            session.display.answer(f"{answer.rule:5} {answer.pattern}{how_long}")
        return
    if len(words) == 1:
        raise RequestError(f"/approve {argument} needs a rule.", hint=_RULES)
    pattern, rule = words
    match rule:
        case "allow" | "deny" | "ask":
            _check_function(session, pattern)
            await approvals.remember(pattern, rule)
            session.display.answer(f"{rule} {pattern}, from now on.")
        case "forget":
            found = await approvals.forget(pattern)
            session.display.answer(
                f"Forgot the answer about {pattern}." if found else f"No answer about {pattern}."
            )
        case _:
            raise RequestError(f"{rule!r} is no rule.", hint=_RULES)


def _check_function(session: Session, pattern: str) -> None:
    """Raise `UnknownName` for a pattern of calls that no function of the agent's matches."""
    from llmgate.agent.functions.patterns import Pattern

    known = session.agent.state.functions
    wanted = Pattern(Pattern.parse(pattern).name)
    if not any(wanted.matches(name, {}) for name in known):
        raise UnknownName("function", wanted.name, known)


def _needed(command: str, argument: str) -> str:
    if not argument:
        raise RequestError(f"{command} needs a text.", hint=f"{command} TEXT")
    return argument


def _number(argument: str, default: int) -> int:
    if not argument:
        return default
    if not argument.isdecimal() or not int(argument):
        raise RequestError(f"{argument!r} is no number of messages.")
    return int(argument)


def _messages(count: int) -> str:
    return f"{count} message" if count == 1 else f"{count} messages"


COMMANDS: dict[str, Command] = {
    "/help": Command("", "this list", _help),
    "/exit": Command("", "leave (so does Ctrl-D)", _exit),
    "/save": Command("", "nothing to do: everything is saved as it happens", _save),
    "//": Command("", "several lines on or off", _several_lines),
    "/memory": Command(
        "[edit|set|log|diff|undo LABEL]",
        "what it knows of itself and of you, and how that came about",
        memory_commands.memory,
    ),
    "/dump": Command("[N]", "the last N messages, or all in the window", looking.dump),
    "/dumpraw": Command("[N]", "the same as JSON, as they are stored", looking.dump_raw),
    "/pop": Command("[N]", "take back the last N messages (3)", _pop),
    "/undo": Command("", "take back your last message and all since", _undo),
    "/retry": Command("", "answer your last message again", _retry),
    "/rewrite": Command("TEXT", "put other words in the place of its last ones", _rewrite),
    "/rethink": Command("TEXT", "put other thoughts in the place of its last ones", _rethink),
    "/summarize": Command(
        "[again]", "summarise the oldest messages now, or the summary anew", _summarize
    ),
    "/heartbeat": Command("", "wake it up", _heartbeat),
    "/memorywarning": Command("", "warn it that its window is nearly full", _memory_warning),
    "/attach": Command("[SOURCE|-SOURCE]", "let it look into a source, or not any more", _attach),
    "/model": Command("[NAME]", "show or choose the model", _model),
    "/approve": Command(
        "[FUNCTION allow|deny|ask|forget]", "which functions may run unasked", _approve
    ),
    "/raw": Command("", "the last prompt, its grammar and the model's raw text", looking.raw),
    "/cache": Command("", "how much of the prompts was cached, and what was not", looking.cache),
}
ALIASES = {
    "/": "/help",
    "/?": "/help",
    "/quit": "/exit",
    "/savechat": "/save",
    "/summarise": "/summarize",
}
