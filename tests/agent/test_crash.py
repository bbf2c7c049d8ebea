"""A running agent that is killed loses nothing that it has shown, and does nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks import agent_crash


def test_twenty_kills_lose_nothing_and_repeat_nothing(tmp_path):
    context = agent_crash.context()

    def five_kills(number):
        return agent_crash.kill_often(tmp_path / str(number), 100 * number, 5, context)

    with ThreadPoolExecutor(4) as pool:
        kills = list(pool.map(five_kills, range(4)))
    assert [problem for _, problems in kills for problem in problems] == []
    assert sum(steps for steps, _ in kills) > 10
