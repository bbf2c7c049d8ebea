"""A story that an agent can be interrupted in anywhere, and what has to hold then.

The model answers from what it is shown, so that it goes on wherever it is asked: it notes a name,
puts a text away, calls a function that counts its calls in a file, and speaks.
"""

from __future__ import annotations

import json
from collections import Counter

from agent_doubles import call, says

from llmgate.agent import UserMessage
from llmgate.memory.conversation import Conversation

FUNCTIONS = '''
from llmgate.agent.functions import function


@function(approval="allow", returns_data=False)
def count_up(path: str) -> str:
    """Count.

    Args:
        path: The file to count in.
    """
    with open(path, "a", encoding="utf-8") as file:
        file.write("x")
    return "counted"
'''
PRESET = """
system_prompt: memgpt_chat_compressed
functions: [send_message, core_memory_append, archival_memory_insert, count_up]
"""


def furnish(folder):
    """Put the function and the preset into a user's folder."""
    (folder / "functions").mkdir(parents=True, exist_ok=True)
    (folder / "functions" / "counting.py").write_text(FUNCTIONS, encoding="utf-8")
    (folder / "presets").mkdir(exist_ok=True)
    (folder / "presets" / "counting.yaml").write_text(PRESET, encoding="utf-8")
    (folder / "count").touch()
    return folder


def model_of(folder):
    """What the model answers to a request: by what was called since the person spoke."""

    def answer(request):
        text, called = "", []
        for message in request.messages:
            if message.role == "user":
                packaged = json.loads(message.content)
                if packaged["type"] == "user_message":
                    text, called = packaged["message"], []
            elif message.role == "assistant":
                called += [each.name for each in message.tool_calls]
        path = str(folder / "count")
        plan = [
            call("core_memory_append", name="human", content=f"<{text}>", request_heartbeat=True),
            call("archival_memory_insert", content=f"put away {text}", request_heartbeat=True),
            call("count_up", path=path, request_heartbeat=True),
            says(f"Done: {text}"),
        ]
        return plan[min(len(called), len(plan) - 1)]

    return answer


async def check(home, agent, folder, texts, shown):
    """What has to hold of the agent when it has been told all of the texts, one after the other.

    `shown` are the steps that were given before each crash: they are kept.
    """
    assert not agent.pending
    logged = await Conversation(home.records, agent.name).raw(1)
    check_calls_have_results([each.message for each in logged])
    said = [json.loads(each.message.content)["message"] for each in logged
            if each.kind == "event:user_message"]  # fmt: skip
    assert said == list(texts)
    core = (await agent.core.get("human")).value
    assert [core.count(f"<{text}>") for text in texts] == [1] * len(texts), core
    passages = [passage async for page in (await home.open_collection(f"agent/{agent.name}")).all()
                for passage in page]  # fmt: skip
    assert Counter(passage.text for passage in passages) == Counter(
        f"put away {text}" for text in texts
    )
    steps = await agent.steps(100_000)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert set(shown) <= {(step.number, step.call.id) for step in steps if step.call}
    assert [step.said for step in steps if step.said] == [f"Done: {text}" for text in texts]
    counts = [step for step in steps if step.call and step.call.name == "count_up"]
    ran = len((folder / "count").read_text(encoding="utf-8"))
    unsure = [step for step in counts if not step.ok]
    assert all("may or may not have happened" in step.result for step in unsure)
    assert len(counts) == len(texts)
    # A call that was interrupted is not made again: it is said, and may have happened or not.
    assert len(counts) - len(unsure) <= ran <= len(counts)


def check_calls_have_results(messages):
    """Each call is followed by its one result before anything else is said."""
    waiting = []
    for message in messages:
        if message.role == "tool":
            assert waiting, "a result without a call"
            assert message.tool_call_id == waiting.pop(0)
        else:
            assert not waiting, f"no result of {waiting}"
            waiting = [each.id for each in message.tool_calls]
    assert not waiting


def event_of(text):
    """What a person says in the story."""
    return UserMessage(text)
