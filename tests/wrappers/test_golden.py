"""Every template × every fixed conversation gives exactly the prompt in `golden/`.

After a wanted change: `pytest tests/wrappers/test_golden.py --update-golden`, then read the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from conversations import CONVERSATIONS

from llmgate import resources
from llmgate.types import Caps
from llmgate.wrappers import Wrapper

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = resources.names("templates")
SEPARATOR = "\n====== END OF PROMPT ======\n"


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_prompt_is_the_golden_one(template, conversation, request):
    asked, options = CONVERSATIONS[conversation]
    prompt = Wrapper.load(template, options).render(asked, Caps(grammar=True))
    shown = f"{prompt.text}{SEPARATOR}stop: {list(prompt.stop)}\nprefill: {prompt.prefill!r}\n"
    file = GOLDEN / template / f"{conversation}.txt"
    if request.config.getoption("--update-golden"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


def test_there_is_no_golden_file_without_its_conversation():
    expected = {f"{t}/{c}.txt" for t in TEMPLATES for c in CONVERSATIONS}
    found = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.txt")}
    assert found == expected


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_no_word_of_a_message_is_dropped(template, conversation):
    asked, options = CONVERSATIONS[conversation]
    if options.get("json_content") == "simplified":
        pytest.skip("this option leaves the packaging of a message out")
    options = {"json_content": "verbatim", **options}
    text = Wrapper.load(template, {**options, "indent": 0}).render(asked, Caps()).text
    for message in asked.messages:
        words = (
            (message.content or "").replace('"', " ").replace("{", " ").replace("}", " ").split()
        )
        assert all(word.strip(",:\\") in text for word in words)
        assert all(call.name in text for call in message.tool_calls)
        assert message.role == "tool" or (message.name or "").lower() in text.lower()
