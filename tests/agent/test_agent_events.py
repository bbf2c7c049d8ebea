"""Events as agents read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from llmgate.agent import Alert, Heartbeat, Login, UserMessage
from llmgate.agent.events import package_result, shown

CET = timezone(timedelta(hours=1), "CET")
NOW = datetime(2026, 3, 4, 15, 6, 7, tzinfo=CET)
TIME = "2026-03-04 03:06:07 PM CET+0100"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            UserMessage("Hi"),
            f'{{"type": "user_message", "message": "Hi", "time": "{TIME}"}}',
        ),
        (
            UserMessage("Hi", name="bo"),
            f'{{"type": "user_message", "message": "Hi", "time": "{TIME}", "name": "bo"}}',
        ),
        (
            Heartbeat(),
            f'{{"type": "heartbeat", "reason": "Automated timer", "time": "{TIME}"}}',
        ),
        (
            Login(),
            f'{{"type": "login", "last_login": "Never (first login)", "time": "{TIME}"}}',
        ),
        (
            Login("yesterday"),
            f'{{"type": "login", "last_login": "yesterday", "time": "{TIME}"}}',
        ),
        (
            Alert("Careful."),
            f'{{"type": "system_alert", "message": "Careful.", "time": "{TIME}"}}',
        ),
    ],
)
def test_each_event_has_its_keys_in_their_order(event, text):
    assert event.packaged(NOW) == text


def test_results_have_a_status_and_no_type():
    assert package_result(True, "None", NOW) == (
        f'{{"status": "OK", "message": "None", "time": "{TIME}"}}'
    )
    assert json.loads(package_result(False, "No.", NOW))["status"] == "Failed"


def test_a_time_without_a_zone_ends_without_a_space():
    assert shown(datetime(2026, 3, 4, 0, 6, 7)) == "2026-03-04 12:06:07 AM"
    assert shown(datetime(2026, 3, 4, 0, 6, 7, tzinfo=UTC)) == "2026-03-04 12:06:07 AM UTC+0000"


def test_text_of_any_language_is_written_as_it_is():
    packaged = UserMessage('Ça va, "Büro"? 東京 🦊\n').packaged(NOW)
    assert "Ça va" in packaged
    assert "東京 🦊" in packaged
    assert json.loads(packaged)["message"] == 'Ça va, "Büro"? 東京 🦊\n'


def test_halves_of_characters_become_what_a_store_takes():
    assert (
        json.loads(UserMessage("a\ud83d\ude00b\udc00c").packaged(NOW))["message"] == "a😀b\ufffdc"
    )
