"""Prompts for the shipped model, and what tests do with answers."""

from __future__ import annotations

from typing import Any

from llmgate.backends.base import Backend
from llmgate.types import Completion, Prompt, Sampling

GREEDY = Sampling(temperature=0.0)


def chatml(question: str) -> str:
    """A question in the format that the shipped model was trained on."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


CAPITAL = chatml("What is the capital of France?")
ENDLESS = 'root ::= ("tic " | "tac ")+ "never"'


def endless(**sampling: Any) -> Prompt:
    """A prompt whose answer goes on and on."""
    sampling = {"temperature": 1.0, **sampling}
    return Prompt("tic tac ", grammar=ENDLESS, stop=("never",), sampling=Sampling(**sampling))


def noise(seed: int | None = None) -> Prompt:
    """A prompt whose answer is another one for each seed."""
    flat = Sampling(max_tokens=30, temperature=3.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed)
    return Prompt("The garden ", grammar="root ::= [a-z ]+", sampling=flat)


async def answer(backend: Backend, prompt: Prompt) -> Completion:
    """The whole answer."""
    return Completion.fold([delta async for delta in backend.complete(prompt)])


async def text(backend: Backend, prompt: Prompt) -> str:
    """The text of the whole answer."""
    return (await answer(backend, prompt)).message.content or ""
