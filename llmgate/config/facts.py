"""What is known of the model that comes with llmgate, used where its settings say nothing."""

from __future__ import annotations

import tomllib

import msgspec

from llmgate import resources
from llmgate.config.settings import AgentSettings, ModelSettings, Settings
from llmgate.types import Sampling

DEFAULT_MODEL = "llmgate-tiny"
SHIPPED_WRAPPER = "chatml"


def default_settings() -> Settings:
    """Settings with the model that comes with llmgate and nothing else."""
    return Settings(models={DEFAULT_MODEL: ModelSettings()})


def is_shipped(model: ModelSettings) -> bool:
    """Whether these settings are about the model that comes with llmgate."""
    return model.backend == "embedded" and model.path is None


def with_facts(model: ModelSettings) -> ModelSettings:
    """The settings with what is known of the model itself where they say nothing.

    So far only the shipped model's facts are known: they stand beside its file.
    """
    if not is_shipped(model):
        return model
    # It was trained on wrappers of ours and has no template of its own.
    if model.wrapper in ("auto", "model"):
        model = msgspec.structs.replace(model, wrapper=SHIPPED_WRAPPER)
    facts = tomllib.loads(resources.default_model().with_suffix(".toml").read_text("utf-8"))
    return msgspec.structs.replace(
        model,
        options={**facts["options"].get(model.wrapper, {}), **model.options},
        sampling=model.sampling.over(msgspec.convert(facts["sampling"], Sampling)),
    )


def with_agent_facts(agent: AgentSettings, model: ModelSettings) -> AgentSettings:
    """The agent's settings with what suits the shipped model where they say nothing.

    That model knows only the short prompts that it was trained on.
    """
    if not is_shipped(model):
        return agent
    facts = tomllib.loads(resources.default_model().with_suffix(".toml").read_text("utf-8"))
    usual = AgentSettings()
    return msgspec.structs.replace(
        agent,
        **{
            key: value
            for key, value in facts["agent"].items()
            if getattr(agent, key) == getattr(usual, key)
        },
    )
