"""Functions for models: schemas, calls, approval, and the sets that come with llmgate."""

from __future__ import annotations

from llmgate.agent.functions.approval import (
    Answer,
    Approvals,
    Approver,
    Decision,
    Question,
    Remembered,
)
from llmgate.agent.functions.calling import RESULT_LIMIT, Result, call, no_such_function
from llmgate.agent.functions.fetching import Fetcher
from llmgate.agent.functions.files import Sandbox
from llmgate.agent.functions.loading import load, shipped
from llmgate.agent.functions.schema import function_of, tool_of
from llmgate.agent.functions.spec import HEARTBEAT, Function, Parameter, Rule, function
from llmgate.errors import FunctionError

__all__ = [
    "HEARTBEAT",
    "RESULT_LIMIT",
    "Answer",
    "Approvals",
    "Approver",
    "Decision",
    "Fetcher",
    "Function",
    "FunctionError",
    "Parameter",
    "Question",
    "Remembered",
    "Result",
    "Rule",
    "Sandbox",
    "call",
    "function",
    "function_of",
    "load",
    "no_such_function",
    "shipped",
    "tool_of",
]
