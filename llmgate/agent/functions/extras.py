"""Functions that reach beyond the agent: other models, text files, the web."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from llmgate.agent.context import Context
from llmgate.agent.functions.files import Sandbox
from llmgate.agent.functions.spec import function
from llmgate.errors import FunctionError

Number = Annotated[int, Meta(ge=1)]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

# Another model may take as long as a person is ready to wait.
_PATIENCE = 600.0


@function(timeout=_PATIENCE)
async def message_chatgpt(agent: Context, message: str) -> str:
    """Ask another AI. It knows nothing of this conversation.

    Args:
        message: The question, with all that is needed to answer it.
    """
    return await agent.ask(None, message)


@function(timeout=_PATIENCE, bound=("model",))
async def ask_model(agent: Context, model: str, message: str) -> str:
    """Ask another model. It knows nothing of this conversation.

    Args:
        model: Name of a configured model.
        message: The question, with all that is needed to answer it.
    """
    return await agent.ask(model, message)


@function(approval="allow", replayable=True)
async def read_from_text_file(
    agent: Context, filename: str, line_start: Number, num_lines: Number = 1
) -> str:
    """Read lines of a text file.

    Args:
        filename: Name of the file in the shared folder.
        line_start: First line to read, from 1.
        num_lines: How many lines.
    """
    lines = await _folder(agent).read(filename, line_start, num_lines)
    if lines.stopped is None:
        return lines.text
    return (
        f"{lines.text}\n[SYSTEM ALERT - only {len(lines.text)} characters were read: "
        f"stopped in line {lines.stopped} of {lines.total}]"
    )


@function(returns_data=False, bound=("filename",))
async def append_to_text_file(agent: Context, filename: str, content: str) -> str:
    """Add text at the end of a text file, which has to be there.

    Args:
        filename: Name of the file in the shared folder.
        content: Text to add.
    """
    size = await _folder(agent).append(filename, content)
    return f"{filename} has {size} bytes now."


@function(timeout=90.0, bound=("method", "url"))
async def http_request(
    agent: Context, method: Method, url: str, payload_json: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Fetch a page of the web, or send it JSON.

    Args:
        method: HTTP method.
        url: Address, from http:// or https:// on.
        payload_json: What to send; not with GET.
    """
    if agent.web is None:
        raise FunctionError("There is no access to the web here.")
    answer = await agent.web.fetch(method, url, payload_json)
    whole: dict[str, Any] = {"status_code": answer.status, "headers": answer.headers}
    if answer.cut:
        whole["note"] = f"only the first {len(answer.body)} characters of the body were read"
    whole["body"] = answer.body
    return whole


def _folder(agent: Context) -> Sandbox:
    if agent.files is None:
        raise FunctionError(
            "There is no folder for files.", hint="Tell the user to set agent.files."
        )
    return agent.files


EXTRAS = (
    message_chatgpt,
    ask_model,
    read_from_text_file,
    append_to_text_file,
    http_request,
)
