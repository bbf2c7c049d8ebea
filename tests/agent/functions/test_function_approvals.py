"""Approval: who decides whether a function runs, and what is remembered of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate import storage
from llmgate.agent.functions import Answer, Approvals, call, function, function_of, shipped
from llmgate.agent.functions.patterns import Pattern, literal
from llmgate.errors import ConfigError


class Person:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def ask(self, question):
        self.asked.append(question)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, Answer) else Answer(answer)


def wiping(approval="ask", bound=()):
    @function(approval=approval, bound=bound)
    def wipe(path: str, mode: str = "soft"):
        """Wipe it.

        Args:
            path: What.
            mode: How.
        """
        return f"wiped {path}"

    return function_of(wipe)


FETCH = shipped()["http_request"]


@pytest.fixture
def approvals(records):
    def make(rules=None):
        return Approvals(records, "ann", rules)

    return make


async def allowed(approvals, arguments=None, person=None, target=None):
    decision = await approvals.decide(target or wiping(), arguments or {"path": "/a"}, person)
    return decision.allowed


async def test_a_function_says_itself_what_holds_for_it(approvals):
    assert await allowed(approvals(), target=wiping("allow"))
    assert not await allowed(approvals(), target=wiping("deny"), person=Person("always"))
    assert not await allowed(approvals(), target=wiping("ask"))


async def test_without_anybody_to_ask_the_model_is_told_why_not(approvals, context):
    result = await call(wiping(), {"path": "/a"}, context, approvals=approvals())
    assert (result.ok, result.denied, result.ran) == (False, True, False)
    assert "nobody is there" in result.message


async def test_a_denied_function_does_not_run_and_an_allowed_one_does(approvals, context):
    async def started():
        order.append("started")

    order = []
    for answer in ("deny", "once"):
        result = await call(
            wiping(),
            {"path": "/a"},
            context,
            approvals=approvals(),
            approver=Person(answer),
            started=started,
        )
    assert order == ["started"]
    assert result.message == "wiped /a"


async def test_the_person_sees_the_arguments_as_they_will_run(approvals, context):
    person = Person("once")
    await call(wiping(), {"path": 5, "x": 1}, context, approvals=approvals(), approver=person)
    question = person.asked[0]
    assert (question.agent, question.function) == ("ann", "wipe")
    assert question.arguments == {"path": "5", "mode": "soft"}


@pytest.mark.parametrize(
    ("answer", "after", "elsewhere"),
    [
        ("once", "asked", "asked"),
        ("session", "allowed", "asked"),
        ("always", "allowed", "allowed"),
        ("deny", "asked", "asked"),
        ("never", "denied", "denied"),
    ],
)
async def test_answers_hold_for_as_long_as_they_say(approvals, answer, after, elsewhere):
    own = approvals()
    assert await allowed(own, person=Person(answer)) == (answer in ("once", "session", "always"))
    for rules, expected in ((own, after), (approvals(), elsewhere)):
        person = Person("deny")
        got = await allowed(rules, person=person)
        assert (got, bool(person.asked)) == {
            "asked": (False, True),
            "allowed": (True, False),
            "denied": (False, False),
        }[expected]


async def test_answers_survive_in_the_store_and_are_listed_and_taken_back(tmp_path):
    url = f"sqlite:{tmp_path}/store.db"
    async with await storage.open(url) as records:
        await allowed(Approvals(records, "ann"), person=Person("always"))
    async with await storage.open(url) as records:
        again = Approvals(records, "ann")
        assert [(r.pattern, r.rule, r.kept) for r in await again.remembered()] == [
            ("wipe", "allow", True)
        ]
        assert await allowed(again)
        assert not await allowed(Approvals(records, "bob"))
        assert await again.forget("wipe")
        assert not await again.forget("wipe")
        assert not await allowed(again)


async def test_what_the_configuration_denies_nobody_allows(approvals):
    person = Person("always")
    rules = approvals({"wipe": "deny"})
    await rules.remember("wipe", "allow")
    assert not await allowed(rules, person=person, target=wiping("allow"))
    assert person.asked == []


async def test_the_configuration_allows_what_would_be_asked_about(approvals):
    assert await allowed(approvals({"wipe": "allow"}))
    assert await allowed(approvals({"w*": "allow"}))
    assert not await allowed(approvals({"w*": "allow", "wipe": "ask"}))


async def test_the_pattern_that_says_most_holds(approvals):
    rules = approvals({"wipe": "deny", "wipe(path=/tmp/*)": "allow", "*": "ask"})
    assert await allowed(rules, {"path": "/tmp/x"})
    assert not await allowed(rules, {"path": "/home"}, Person("once"))


async def test_of_patterns_that_say_the_same_the_strictest_holds(approvals):
    rules = approvals({"wipe(path=/tmp/*)": "allow", "wipe(path=*secret*)": "deny"})
    assert not await allowed(rules, {"path": "/tmp/secret"})


async def test_a_default_counts_as_if_it_were_given(approvals, context):
    rules = approvals({"wipe": "allow", "wipe(mode=soft)": "deny"})
    assert (await call(wiping(), {"path": "/a"}, context, approvals=rules)).denied
    hard = {"path": "/a", "mode": "hard"}
    assert not (await call(wiping(), hard, context, approvals=rules)).denied


@pytest.mark.parametrize("path", ["/SECRET/x", "/ſecret/x", "/ｓｅｃｒｅｔ/x", "/secret/x"])
async def test_a_rule_that_holds_back_holds_for_other_spellings_too(approvals, path):
    rules = approvals({"wipe": "allow", "wipe(path=/secret/*)": "deny"})
    assert not await allowed(rules, {"path": path})


async def test_a_rule_that_allows_holds_for_just_its_spelling(approvals):
    rules = approvals({"wipe(path=/tmp/*)": "allow"})
    assert not await allowed(rules, {"path": "/TMP/x"})


@pytest.mark.parametrize(
    "url",
    ["https://Evil.org/a", "https://evil.org:443/a", "https://evil.org./a", "HTTPS://evil.org/a",
     "https://ｅｖｉｌ.org/a", "https://evil.org"],
)  # fmt: skip
async def test_a_site_that_is_denied_is_denied_however_it_is_written(approvals, url):
    rules = approvals({"http_request": "allow", "http_request(url=https://evil.org/*)": "deny"})
    arguments = {"method": "GET", "url": url}
    assert not await allowed(rules, arguments, target=FETCH)


async def test_always_for_a_page_is_for_its_site_and_method_only(approvals):
    rules = approvals()
    person = Person("always")
    arguments = {"method": "GET", "url": "https://example.org/a?b=c"}
    assert await allowed(rules, arguments, person, FETCH)
    assert person.asked[0].pattern == "http_request(method=GET, url=https://example.org/*)"
    assert await allowed(rules, {"method": "GET", "url": "https://example.org/z"}, None, FETCH)
    for method, url in [
        ("POST", "https://example.org/a"),
        ("GET", "https://example.org.evil.com/"),
        ("GET", "https://example.org@evil.com/"),
        ("GET", "https://example.org\\@evil.com/"),
        ("GET", "http://example.org/"),
        ("GET", "https://example.com/"),
    ]:
        assert not await allowed(rules, {"method": method, "url": url}, None, FETCH)


async def test_always_for_a_url_that_is_not_plain_is_for_that_url_only(approvals):
    rules = approvals()
    url = "https://example.org\\@evil.com/[a]*"
    assert await allowed(rules, {"method": "GET", "url": url}, Person("always"), FETCH)
    assert await allowed(rules, {"method": "GET", "url": url}, None, FETCH)
    assert not await allowed(rules, {"method": "GET", "url": url + "x"}, None, FETCH)


async def test_always_for_much_does_not_answer_what_is_asked_in_particular(approvals):
    rules = approvals({"wipe(path=/home/*)": "ask"})
    await rules.remember("wipe", "allow")
    assert await allowed(rules, {"path": "/tmp"})
    assert not await allowed(rules, {"path": "/home/ann"})
    person = Person("always")
    assert await allowed(rules, {"path": "/home/ann"}, person)
    assert person.asked[0].pattern == "wipe(path=/home/ann)"
    assert await allowed(rules, {"path": "/home/ann"})
    assert not await allowed(rules, {"path": "/home/bob"})


@pytest.mark.parametrize("default", ["allow", "ask"])
async def test_a_person_may_want_to_be_asked(approvals, default):
    rules = approvals({"wipe": "allow"})
    await rules.remember("wipe(path=/home/*)", "ask")
    target = wiping(default)
    assert await allowed(rules, {"path": "/tmp"}, target=target)
    assert not await allowed(rules, {"path": "/home/ann"}, target=target)
    person = Person("always")
    assert await allowed(rules, {"path": "/home/ann"}, person, target)
    assert person.asked[0].pattern == "wipe(path=/home/ann)"
    assert await allowed(rules, {"path": "/home/ann"}, target=target)
    assert not await allowed(rules, {"path": "/home/bob"}, target=target)
    await rules.remember("wipe(path=/home/*)", "ask")
    assert not await allowed(rules, {"path": "/home/ann"}, target=target)


async def test_a_person_may_answer_for_another_pattern(approvals):
    rules = approvals()
    assert await allowed(rules, person=Person(Answer("always", "wipe(path=/a*)")))
    assert await allowed(rules, {"path": "/abc"})
    assert not await allowed(rules, {"path": "/b"})


async def test_who_can_not_be_asked_has_not_agreed(approvals):
    class Gone:
        async def ask(self, question):
            raise EOFError("the terminal is gone")

    decision = await approvals().decide(wiping(), {"path": "/a"}, Gone())
    assert not decision.allowed
    assert "the terminal is gone" in decision.reason


async def test_two_who_remember_at_once_lose_nothing(records):
    many = [Approvals(records, "ann") for _ in range(8)]
    await asyncio.gather(*(one.remember(f"f{n}", "allow") for n, one in enumerate(many)))
    assert len(await many[0].remembered()) == 8


def test_patterns_of_the_configuration_that_match_nothing_are_named(records):
    rules = {"htp_request": "deny", "http_*": "ask", "wipe(path=a)": "deny"}
    made = Approvals(records, "ann", rules)
    assert made.strangers(["http_request", "send_message"]) == ("htp_request", "wipe(path=a)")


@pytest.mark.parametrize(
    "text", ["", "a b", "f(", "f(x)", "f(x=1", 'f(x="a)', "f(x=a b=c", "f)", "f(=a)"]
)
def test_what_is_not_a_pattern_is_refused_with_an_example(records, text):
    with pytest.raises(ConfigError, match="pattern"):
        Approvals(records, "ann", {text: "deny"})


@given(st.dictionaries(st.from_regex(r"\w{1,5}", fullmatch=True), st.text(max_size=8), max_size=3))
def test_every_pattern_is_read_as_it_was_written(arguments):
    pattern = Pattern.exactly("f", arguments)
    assert Pattern.parse(str(pattern)) == pattern
    exact = Pattern.exactly("f", {name: literal(text) for name, text in arguments.items()})
    assert exact.matches("f", arguments)
    assert all(not exact.matches("f", {**arguments, name: "q" * 20}) for name in arguments)
