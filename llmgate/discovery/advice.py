"""What to change about a server so that tool calling works well, in the words of its program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from llmgate.discovery.examination import Report

_COMFORT: Final = 8192
_CONTEXT: Final = {
    "llamacpp": "start llama-server with -c 16384 (and -np 1, if one person uses it)",
    "ollama": "set `context = 16384` for the model here, or OLLAMA_CONTEXT_LENGTH for Ollama",
    "koboldcpp": "start KoboldCpp with --contextsize 16384",
    "lmstudio": "load the model with a larger context length in LM Studio",
    "textgen": "load the model with a larger ctx-size in text-generation-webui",
    "vllm": "start vLLM with a larger --max-model-len",
    "sglang": "start SGLang with a larger --context-length",
    "llama-cpp-python": "start its server with --n_ctx 16384",
}
_LOAD: Final = {
    "ollama": "get one with `ollama pull NAME`",
    "lmstudio": "load one in LM Studio",
    "textgen": "load one on the Model page of text-generation-webui",
}


def advice(report: Report) -> tuple[str, ...]:
    """Sentences on what to change, the most important first."""
    if report.error:
        return _for_error(report)
    said = []
    caps = report.caps
    if caps.context is None and caps.truncates:
        said.append(
            "It cuts long prompts without a word and does not tell its context: set `context` "
            "for the model here, so that nothing is lost silently."
        )
    elif caps.context is not None and caps.context < _COMFORT:
        how = _CONTEXT.get(report.backend, "start the server with a larger one")
        said.append(f"A context of {caps.context} tokens is soon full with tools: {how}.")
    if report.constraint is not None and not report.constraint.passed and not caps.chat:
        said.append(_unconstrained(report))
    if caps.template is None and not caps.chat:
        said.append(
            "It does not tell the model's chat template, so prompts are written as ChatML: "
            "`llmgate wrappers detect FILE` says which wrapper the model wants."
        )
    if report.backend == "ollama" and report.tool_call is not None and not report.tool_call.passed:
        said.append(
            'Ollama hides the marks of some models in raw answers: try backend = "ollama-chat".'
        )
    if report.stream is not None and "one piece" in report.stream.said:
        said.append("Something between here and the server holds its stream back: is it a proxy?")
    return tuple(said)


def _unconstrained(report: Report) -> str:
    if report.constraint is not None and "does not keep" in report.constraint.said:
        return f"This version of {report.kind} ignores grammars: a newer one makes calls certain."
    return (
        "Calls are checked and asked for again, not held: a server that takes grammars "
        "(llama-server, KoboldCpp, vLLM) makes them certain."
    )


def _for_error(report: Report) -> tuple[str, ...]:
    said = report.error.lower()
    if "loaded" in said or "loading" in said:
        return ("Wait until the model is there, and ask again.",)
    if "not found" in said or "no model" in said:
        return (f"It has no model: {_LOAD.get(report.backend, 'load one')}.",)
    if "api_key" in said or "status 401" in said:
        return ("Set `api_key` for the model.",)
    return ()
