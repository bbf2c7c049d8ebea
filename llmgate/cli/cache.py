"""`llmgate cache`: why a server reads a prompt again that it has read before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from llmgate.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmgate.agent.explaining import Explanation, Place
    from llmgate.wrappers import Wrapper


@click.group("cache")
def command() -> None:
    """Find out why a server reads prompts again."""


@command.command("explain")
@options.wrapper
@click.option("--agent", metavar="NAME", help="Compare the last two prompts of this agent.")
@click.option("--model", metavar="NAME", help="Count tokens with this configured model.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.argument("prompts", nargs=-1, metavar="[BEFORE AFTER]")
def explain(
    config: str | None,
    wrapper: str,
    option: tuple[str, ...],
    agent: str | None,
    model: str | None,
    as_json: bool,
    prompts: tuple[str, ...],
) -> None:
    """Name the first token in which two turns' prompts differ, its cause and its cost.

    BEFORE and AFTER are two files: prompts as they were sent, or bodies of POST
    /v1/chat/completions, which are written out by the wrapper.

    \b
        llmgate cache explain before.txt after.txt
        llmgate cache explain --wrapper chatml before.json after.json
        llmgate cache explain --agent ann
    """
    import msgspec

    from llmgate.agent.explaining import explain as compare
    from llmgate.agent.explaining import spelled_out

    places: Sequence[Place] = ()
    if agent is not None and not prompts:
        before, after = _of_agent(agent, config)
    elif agent is None and len(prompts) == 2:
        chosen = None
        if any(options.read(file).lstrip()[:1] == b"{" for file in prompts if file != "-"):
            chosen = options.wrapper_of(config, wrapper, option)
        (before, _), (after, places) = (_prompt(file, chosen) for file in prompts)
    else:
        raise click.UsageError("Give two files, or --agent NAME.")
    if not places:
        before, after, places = spelled_out(before, after)
    found = compare(before, after, places=places)
    if model is not None:
        found = _counted(found, before, after, config, model)
    if as_json:
        shown = {**msgspec.structs.asdict(found), "share": found.share, "grown": found.grown}
        click.echo(msgspec.json.encode(shown).decode())
        return
    for line in found.lines():
        click.echo(line)


def _prompt(file: str, wrapper: Wrapper | None) -> tuple[str, Sequence[Place]]:
    """A file's prompt, and what is known of its parts."""
    from llmgate.agent.explaining import Place
    from llmgate.errors import RequestError
    from llmgate.types import Caps

    raw = options.read(file)
    if wrapper is None or raw.lstrip()[:1] != b"{":
        try:
            return raw.decode(), ()
        except UnicodeDecodeError as error:
            raise RequestError(f"{file} is not UTF-8: {error}.") from error
    request = options.request_of(file)
    text = wrapper.render(request, Caps(grammar=True)).text
    return text, [
        Place(part.start, part.what, part.line, part.written)
        for part in wrapper.parts(request, text)
    ]


def _of_agent(name: str, config: str | None) -> tuple[str, str]:
    """The last two prompts of an agent."""
    import asyncio

    from llmgate.agent.explaining import texts
    from llmgate.cli import stores
    from llmgate.errors import RequestError, UnknownAgent
    from llmgate.memory import names
    from llmgate.memory.agents import agents

    names.check_name(name)

    async def read() -> object:
        async with stores.records_if_there(stores.settings_of(config)) as records:
            if records is None:
                raise UnknownAgent(name, ())
            if await records.get(names.state(name)) is None:
                raise UnknownAgent(name, await agents(records))
            document = await records.get(names.system(f"prompts/{name}"))
            return None if document is None else document.value

    found = texts(asyncio.run(read()))
    if found is None:
        raise RequestError(
            f"no two prompts of the agent {name!r} are stored yet.",
            hint="Two turns are compared: talk to it with `llmgate chat`.",
        )
    return found


def _counted(
    found: Explanation, before: str, after: str, config: str | None, model: str
) -> Explanation:
    """The same with tokens as the model's own tokenizer counts them, if there is one."""
    import asyncio

    import msgspec

    from llmgate.gateway import Gateway
    from llmgate.gateway.tokens import count

    settings = options.settings_of(config, None, None)
    cut = found.start

    async def counts() -> Explanation:
        async with Gateway.open(settings) as gateway:
            backend = gateway.route(model).backend
            await backend.start()
            known, rest, was = [
                await count(backend, text) for text in (after[:cut], after[cut:], before[cut:])
            ]
            return msgspec.structs.replace(
                found,
                known=known.tokens,
                read=rest.tokens,
                again=0 if found.grown else min(rest.tokens, was.tokens),
                exact=known.exact and rest.exact,
            )

    return asyncio.run(counts())
