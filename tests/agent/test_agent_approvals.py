"""Functions that nobody has allowed are not called, whatever the model says."""

from __future__ import annotations

import asyncio

import pytest
from agent_doubles import agent_of, call, says, settings_of, steps_of

from llmgate.agent import UserMessage, Watch
from llmgate.agent.functions.approval import Answer

HELLO = UserMessage("Hello.")
FUNCTION = '''
def launch(what: str) -> str:
    """Launch something.

    Args:
        what: What to launch.
    """
    with open({path!r}, "a") as file:
        file.write(what)
    return "launched"
'''
PRESET = "system_prompt: memgpt_chat_compressed\nfunctions: [send_message, launch]\n"
LAUNCH = {"what": "x", "request_heartbeat": True}


class Answers(Watch):
    """Somebody who gives these answers, one after the other."""

    def __init__(self, *choices):
        self.choices = list(choices)
        self.questions = []
        self.approver = self

    async def ask(self, question):
        self.questions.append(question)
        return Answer(self.choices.pop(0))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "launching.py").write_text(
        FUNCTION.format(path=str(tmp_path / "launched"))
    )
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "own.yaml").write_text(PRESET)
    (tmp_path / "launched").touch()
    return tmp_path


def launched(folder):
    return (folder / "launched").read_text()


async def launching(folder, *answers, **agent):
    return await agent_of(*answers, settings=settings_of(folder, preset="own", **agent))


async def test_with_nobody_to_ask_it_is_denied_and_the_model_is_told(folder):
    agent, _ = await launching(folder, call("launch", **LAUNCH), says("I may not."))
    first, second = await steps_of(agent, HELLO)
    assert (first.ok, first.next) == (False, "failed")
    assert "launch" in first.result
    assert second.said == "I may not."
    assert launched(folder) == ""


async def test_a_person_can_allow_it_once(folder):
    agent, _ = await launching(folder, *(call("launch", **LAUNCH), says("Done.")) * 2)
    watch = Answers("once", "deny")
    first, _ = await steps_of(agent, HELLO, watch=watch)
    second, _ = await steps_of(agent, HELLO, watch=watch)
    assert (first.ok, first.result, second.ok) == (True, "launched", False)
    assert [question.function for question in watch.questions] == ["launch", "launch"]
    assert watch.questions[0].agent == "ann"
    assert watch.questions[0].arguments == {"what": "x"}
    assert launched(folder) == "x"


async def test_what_is_always_allowed_is_not_asked_about_again(folder):
    agent, _ = await launching(folder, *(call("launch", **LAUNCH), says("Done.")) * 2)
    watch = Answers("always")
    await steps_of(agent, HELLO, watch=watch)
    await steps_of(agent, HELLO, watch=watch)
    assert len(watch.questions) == 1
    assert launched(folder) == "xx"


async def test_the_configuration_can_deny_even_what_comes_with_the_agent(folder):
    agent, _ = await launching(folder, says("Hi."), says("Hi?"), approvals={"send_message": "deny"},
                               chain_limit=2)  # fmt: skip
    steps = await steps_of(agent, HELLO)
    assert [step.ok for step in steps] == [False, False]
    assert [step.said for step in steps] == [None, None]


async def test_who_is_interrupted_at_the_question_is_asked_again(folder):
    agent, _ = await launching(folder, call("launch", **LAUNCH), says("Done."))

    class Waits(Watch):
        def __init__(self):
            self.approver = self

            self.asked = asyncio.Event()

        async def ask(self, question):
            self.asked.set()
            await asyncio.Event().wait()

    waits = Waits()
    task = asyncio.create_task(steps_of(agent, HELLO, watch=waits))
    await waits.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert launched(folder) == ""
    watch = Answers("once")
    first, second = await steps_of(agent, None, watch=watch)
    assert (first.ok, first.resumed, second.said) == (True, True, "Done.")
    assert launched(folder) == "x"


async def test_a_function_that_is_gone_is_told_and_the_agent_goes_on(folder):
    agent, _ = await launching(folder, says("Hi."))
    (folder / "functions" / "launching.py").unlink()
    from agent_doubles import backend_of, home_of

    from llmgate.agent import Agent

    home = await home_of(backend_of(says("Hi.")), settings_of(folder), records=agent.home.records)
    again = await Agent.open(home, "ann")
    [step] = await steps_of(again, HELLO)
    assert step.said == "Hi."
    assert any("'launch'" in note.message for note in step.notes)


async def test_rules_for_functions_that_are_not_there_are_warned_of(folder):
    agent, _ = await launching(folder, approvals={"lunch": "allow"})
    assert any("'lunch'" in warning for warning in agent.home.warnings)
