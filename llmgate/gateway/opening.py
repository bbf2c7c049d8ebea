"""Settings → models that can be asked; nothing is started yet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from llmgate.backends import open_backend
from llmgate.config import ModelSettings, with_facts
from llmgate.errors import ConfigError
from llmgate.gateway.budget import Budget
from llmgate.gateway.clock import Clock
from llmgate.gateway.generation import Route
from llmgate.gateway.health import Health
from llmgate.gateway.models import Family, Model, Policy
from llmgate.gateway.queue import Places
from llmgate.gateway.replicas import Replica, Replicas
from llmgate.gateway.routing import filled
from llmgate.wrappers import ModelWrapper, Wrapper, open_wrapper


def open_model(
    name: str, settings: ModelSettings, user_folder: Path | None, clock: Clock
) -> Model | Family:
    """The model that `settings` describe.

    A family, where its `model` has stars: they stand for what those of its name matched. Raises
    `ConfigError` that names the model whose settings can't be used.
    """
    try:
        settings = with_facts(settings)
        wrapper = open_wrapper(settings.wrapper, settings.options, user_folder)
        policy = Policy(
            aliases=settings.aliases,
            fallbacks=settings.fallbacks,
            # An engine that died of a request would die of it again.
            retries=0 if settings.backend == "embedded" else settings.retries,
            corrections=settings.corrections,
            total=settings.timeouts.total,
            cache=settings.cache,
        )
        stars = max(each.model.count("*") if each.model else 0 for each in _servers(settings))
        if not stars:
            return _opened(name, settings, wrapper, policy, clock)
        for known in (name, *settings.aliases):
            if known.count("*") < stars:
                raise ConfigError(
                    f"`model` has a '*', but nothing stands for it in the name {known!r}.",
                    hint='As in [models."openai/*"] with model = "*".',
                )
        return Family(name, policy, partial(_member, name, settings, wrapper, policy, clock))
    except ConfigError as error:
        error.message = f"models.{name}: {error.message}"
        raise


def _member(
    name: str,
    settings: ModelSettings,
    wrapper: Wrapper | ModelWrapper,
    policy: Policy,
    clock: Clock,
    parts: Sequence[str],
) -> Model:
    """One model of a family."""
    return _opened(filled(name, parts), settings, wrapper, policy, clock, parts)


def _opened(
    name: str,
    settings: ModelSettings,
    wrapper: Wrapper | ModelWrapper,
    policy: Policy,
    clock: Clock,
    parts: Sequence[str] = (),
) -> Model:
    # An engine that answers one at a time makes all others wait in the order in which they came;
    # here they wait in a fair one.
    concurrency = settings.concurrency or (1 if settings.backend == "embedded" else None)
    weights = [1.0] * (len(_servers(settings)) - len(settings.replicas))
    weights += [replica.weight for replica in settings.replicas]
    replicas = []
    for server, weight in zip(_servers(settings), weights, strict=True):
        if server.model:
            server = msgspec.structs.replace(server, model=filled(server.model, parts))
        budget = Budget(settings.reply_tokens, settings.overflow)
        route = Route(open_backend(name, server), wrapper, settings.sampling, budget)
        shown = _shown(server.url) if server.url else name
        health = Health(
            f"the model {name!r}" + (f" at {shown}" if server.url else ""),
            route.backend.health,
            cooldown=settings.cooldown,
            every=settings.health,
            clock=clock,
        )
        places = Places(name, concurrency, settings.queue)
        replicas.append(Replica(shown, route, places, health, weight))
    return Model(name, Replicas(replicas, settings.balance, clock=clock), policy, settings.context)


def _servers(settings: ModelSettings) -> list[ModelSettings]:
    """The settings of each replica: those of the model's own `url` first, if it has one."""
    bare = msgspec.structs.replace(settings, replicas=())
    own = [] if settings.replicas and settings.url is None else [bare]
    return own + [
        msgspec.structs.replace(
            bare,
            url=replica.url,
            api_key=settings.api_key if replica.api_key is None else replica.api_key,
            model=settings.model if replica.model is None else replica.model,
        )
        for replica in settings.replicas
    ]


def _shown(url: str) -> str:
    """An address without the password that may stand in it."""
    if "@" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
