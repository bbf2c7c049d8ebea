"""What every engine must do: the same tests for all of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from llmgate import storage
from llmgate.errors import Conflict, StorageError, Unstorable
from llmgate.storage import Line

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)

VALUES = {
    "null": None,
    "true": True,
    "zero": 0,
    "a float": 0.1,
    "a large number": 2**70,
    "a small number": -(2**63),
    "empty text": "",
    "text": "Grüße, 世界 🌍, עברית",
    "combining characters": "e\u0301 é ﬁ",
    "a NUL byte": "a\0b\0",
    "control characters": "\x01\x1f\x7f\u2028\u2029\ufeff",
    "every plane": "\u0800\uffff\U00010000\U0010ffff",
    "lines": "one\ntwo\r\nthree\rfour\x85five",
    "quotes": "\"'`\\ %_*?; DROP TABLE documents; --",
    "a list": [1, [2, [3, []]], {}],
    "an object": {"": {"a\0": [None]}, "ü": 1, 'key with "quotes"': 2},
    "deep nesting": [[[[[[[[[[[[[[[[[[[[{"a": [1]}]]]]]]]]]]]]]]]]]]]],
    "what looks like a document": {"key": "x", "version": 9, "value": None, "position": 1},
    "10 MB": "0123456789äöü " * 600_000,
}
NAMES = {
    "plain": "agents/ann/state",
    "up and out": "../../x",
    "dots": "a/./b/../c",
    "dot": ".",
    "a file name": "state.json",
    "a log's name": "state.until.json.jsonl",
    "absolute": "/etc/passwd",
    "a slash at the end": "a/",
    "slashes": "//",
    "spaces": "  a b  ",
    "Windows": "C:\\x\\con",
    "reserved": "con/aux.txt/NUL/lpt1",
    "capitals": "ABC/abc/Abc",
    "Unicode": "ünï/世界/🌍",
    "a NUL byte": "a\0b",
    "control characters": "\n\t\x7f",
    "escapes": "%2e%2e/%long/%/+",
    "long": "x" * 300,
    "very long": "long/" * 3000,
    "long Unicode": "界" * 2000,
    "the last character": "\U0010ffff\U0010ffff",
    "SQL": "'; DROP TABLE documents; --",
    "wildcards": "%_*?[a]",
}


@pytest.mark.parametrize("name", VALUES)
async def test_a_value_comes_back_as_it_was(store, name):
    await store.put("key", VALUES[name])
    assert (await store.get("key")).value == VALUES[name]
    await store.append("log", VALUES[name])
    assert [entry.value for entry in await store.read("log")] == [VALUES[name]]


async def test_any_text_can_be_a_name(store):
    for what, key in NAMES.items():
        await store.put(key, 1)
        await store.append(key, "entry")
        assert (await store.get(key)).key == key, what
        assert await store.keys() == [key], what
        assert await store.keys(key[:1]) == [key], what
        assert await store.keys(key) == [key], what
        assert await store.logs() == [key], what
        assert await store.end(key) == 1, what
        assert await store.delete(key), what
        assert await store.drop(key) == 1, what
        assert await store.keys() == await store.logs() == [], what


async def test_all_these_names_live_side_by_side(store):
    for number, key in enumerate(NAMES.values()):
        await store.put(key, number)
        await store.append(key, number, number)
    assert await store.keys() == sorted(NAMES.values())
    assert await store.logs() == sorted(NAMES.values())
    for number, key in enumerate(NAMES.values()):
        assert (await store.get(key)).value == number
        assert [entry.value for entry in await store.read(key)] == [number, number]


async def test_names_that_differ_in_case_or_composition_are_different(store):
    names = ["é", "e\u0301", "E\u0301", "a", "A", "ａ", "ß", "ss"]
    for name in names:
        await store.put(name, name)
    assert await store.keys() == sorted(names)
    for name in names:
        assert (await store.get(name)).value == name


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": [float("inf")]},
        "\ud800",
        {"\udfff": 1},
        object(),
        {(1, 2): 3},
    ],
    ids=["nan", "inf", "half a pair", "half a pair as a key", "an object", "a tuple as a key"],
)
async def test_what_json_can_not_say_is_refused(store, value):
    with pytest.raises(Unstorable):
        await store.put("key", value)
    with pytest.raises(Unstorable):
        await store.append("log", 1, value)
    assert await store.get("key") is None
    assert await store.end("log") == 0


async def test_nesting_without_end_is_refused(store):
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unstorable, match="nested"):
        await store.put("key", value)


@pytest.mark.parametrize("name", ["", "\ud800"])
async def test_a_name_that_can_not_be_is_refused(store, name):
    for call in (
        lambda: store.put(name, 1),
        lambda: store.get(name),
        lambda: store.delete(name),
        lambda: store.append(name, 1),
        lambda: store.read(name),
        lambda: store.end(name),
        lambda: store.drop(name),
        lambda: store.search(name, "x"),
    ):
        with pytest.raises(Unstorable):
            await call()


async def test_an_empty_store_answers_empty(store):
    assert await store.get("a") is None
    assert await store.keys() == []
    assert await store.logs() == []
    assert await store.read("a") == []
    assert await store.read("a", reverse=True, after=9) == []
    assert await store.end("a") == 0
    assert await store.search("a", "x") == storage.Page((), 0)
    assert await store.drop("a") == 0
    assert not await store.delete("a")
    assert (await store.health()).ok
    stats = await store.stats()
    assert (stats.documents, stats.logs, stats.entries) == (0, 0, 0)


async def test_versions_grow_and_never_come_again(store):
    first = await store.put("a", 1)
    second = await store.put("a", 2)
    await store.delete("a")
    third = await store.put("a", 3)
    other = await store.put("b", 1)
    assert 0 < first < second < third
    assert other > 0
    assert (await store.get("a")).version == third


async def test_put_compares_and_swaps(store):
    version = await store.put("a", 1, expected=0)
    with pytest.raises(Conflict) as caught:
        await store.put("a", 2, expected=0)
    assert (caught.value.name, caught.value.expected, caught.value.actual) == ("a", 0, version)
    newer = await store.put("a", 2, expected=version)
    with pytest.raises(Conflict):
        await store.put("a", 3, expected=version)
    assert await store.get("a") == storage.Document("a", 2, newer)


async def test_delete_compares_too(store):
    version = await store.put("a", 1)
    with pytest.raises(Conflict):
        await store.delete("a", expected=version + 1)
    assert await store.get("a")
    assert await store.delete("a", expected=version)
    with pytest.raises(Conflict):
        await store.delete("a", expected=version)
    assert not await store.delete("a", expected=0)


async def test_a_swap_of_what_was_made_anew_conflicts(store):
    version = await store.put("a", 1)
    await store.delete("a")
    await store.put("a", 1)
    with pytest.raises(Conflict):
        await store.put("a", 2, expected=version)


async def test_a_stored_value_does_not_change_with_the_callers(store):
    value = {"list": [1]}
    await store.put("a", value)
    value["list"].append(2)
    read = (await store.get("a")).value
    assert read == {"list": [1]}
    read["list"].append(3)
    assert (await store.get("a")).value == {"list": [1]}


async def test_keys_come_in_order_and_in_pages(store):
    names = [f"n/{number:03}" for number in range(25)] + ["m", "n", "n0", "o/1"]
    async with store.transaction() as changes:
        for name in reversed(names):
            changes.put(name, 1)
    inside = sorted(name for name in names if name.startswith("n/"))
    assert await store.keys("n/") == inside
    found, after = [], ""
    while page := await store.keys("n/", after=after, limit=7):
        assert len(page) <= 7
        found += page
        after = page[-1]
    assert found == inside
    assert await store.keys() == sorted(names)
    assert await store.keys("n/", after="a", limit=2) == inside[:2]
    assert await store.keys("n/", after="z") == []
    assert await store.keys("x") == []
    assert await store.keys(limit=0) == []


async def test_keys_see_each_change(store):
    assert await store.keys() == []
    await store.put("b", 1)
    assert await store.keys() == ["b"]
    await store.put("a", 1)
    await store.put("b", 2)
    assert await store.keys() == ["a", "b"]
    await store.delete("a")
    assert await store.keys() == ["b"]


async def test_a_document_is_gone_when_its_time_is_over(store):
    await store.put("past", 1, expires=datetime.now(UTC) - timedelta(seconds=1))
    version = await store.put("soon", 1, expires=timedelta(seconds=0.2))
    await store.put("later", 1, expires=timedelta(hours=1))
    later = (await store.get("later")).expires
    assert timedelta(minutes=59) < later - datetime.now(UTC) <= timedelta(hours=1)
    assert await store.get("past") is None
    assert await store.keys() == ["later", "soon"]
    await asyncio.sleep(0.25)
    assert await store.get("soon") is None
    assert await store.keys() == ["later"]
    assert (await store.stats()).documents == 1
    with pytest.raises(Conflict):
        await store.put("soon", 2, expected=version)
    assert not await store.delete("past")
    await store.put("soon", 2, expected=0)
    assert await store.get("soon") == storage.Document(
        "soon", 2, (await store.get("soon")).version, None
    )


async def test_storing_again_changes_when_a_document_expires(store):
    await store.put("a", 1, expires=timedelta(hours=1))
    await store.put("a", 2)
    assert (await store.get("a")).expires is None
    await store.put("a", 3, expires=DAY + timedelta(days=36500))
    assert (await store.get("a")).expires == DAY + timedelta(days=36500)
    assert await store.keys() == ["a"]
    await store.put("a", 4, expires=DAY)
    assert await store.keys() == []


async def test_a_time_without_a_zone_is_refused(store):
    naive = DAY.replace(tzinfo=None)
    with pytest.raises(Unstorable, match="time zone"):
        await store.put("a", 1, expires=naive)
    with pytest.raises(Unstorable, match="time zone"):
        await store.append("log", Line(1, at=naive))
    with pytest.raises(Unstorable, match="time zone"):
        await store.search("log", since=naive)


async def test_append_gives_the_positions(store):
    assert await store.append("log", "a") == (1,)
    assert await store.append("log", "b", "c") == (2, 3)
    assert await store.append("log") == ()
    assert await store.append("other", "x") == (1,)
    assert await store.end("log") == 3
    assert [(e.position, e.value) for e in await store.read("log")] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]


async def test_a_log_is_read_in_both_directions_and_in_pages(store):
    await store.append("before", *range(5))
    await store.append("log", *range(1, 31))
    await store.append("behind", *range(5))

    async def read(**options):
        return [entry.position for entry in await store.read("log", **options)]

    assert await read() == list(range(1, 31))
    assert await read(limit=3) == [1, 2, 3]
    assert await read(after=3, limit=3) == [4, 5, 6]
    assert await read(after=28, limit=10) == [29, 30]
    assert await read(after=30) == []
    assert await read(after=10**15) == []
    assert await read(reverse=True, limit=3) == [30, 29, 28]
    assert await read(reverse=True, after=28, limit=3) == [27, 26, 25]
    assert await read(reverse=True, after=3) == [2, 1]
    assert await read(reverse=True, after=1) == []
    assert await read(reverse=True, after=0) == []
    assert await read(reverse=True, after=10**15, limit=1) == [30]
    assert await read(after=-5, limit=1) == [1]
    assert await read(limit=0) == []


async def test_a_negative_limit_is_refused(store):
    for call in (store.keys, store.logs, lambda limit: store.read("log", limit=limit)):
        with pytest.raises(Unstorable, match="limit"):
            await call(limit=-1)


async def test_entries_keep_their_time_and_text(store):
    before = datetime.now(UTC)
    await store.append("log", Line({"a": 1}, at=DAY, text="words"), Line(2, text=""), 3)
    first, second, third = await store.read("log")
    assert (first.at, first.text) == (DAY, "words")
    assert (second.text, third.text) == ("", None)
    assert before - timedelta(milliseconds=1) <= second.at <= datetime.now(UTC)
    assert second.at.tzinfo is UTC or second.at.utcoffset() == timedelta(0)


async def test_times_keep_their_microseconds_and_may_lie_before_1970(store):
    times = [
        datetime(1901, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
    ]
    await store.append("log", *(Line(1, at=at) for at in times))
    assert [entry.at for entry in await store.read("log")] == times


async def test_drop_takes_a_log_away_and_positions_begin_anew(store):
    await store.append("log", "old words", "more")
    await store.append("log/inner", "stays words")
    assert await store.drop("log") == 2
    assert await store.logs() == ["log/inner"]
    assert (await store.search("log", "words")).total == 0
    assert await store.append("log", "new") == (1,)
    assert [entry.value for entry in await store.read("log")] == ["new"]
    assert (await store.search("log", "old")).total == 0
    assert (await store.search("log/inner", "words")).total == 1


async def test_logs_are_listed_as_keys_are(store):
    for name in ("b/2", "a", "b/1", "c"):
        await store.append(name, 1)
    assert await store.logs() == ["a", "b/1", "b/2", "c"]
    assert await store.logs("b/") == ["b/1", "b/2"]
    assert await store.logs(after="a", limit=2) == ["b/1", "b/2"]


TEXTS = [
    "My name is Ann and I live in Köln",
    "今日は東京に行きました",
    "안녕하세요 세계",
    {"role": "user", "content": "The QUICK brown fox", "name": None},
    {"role": "assistant", "calls": [{"function": "send", "arguments": {"message": "Hi, Ann!"}}]},
    "STRASSE und Straße",
    '100% of a_b* "quoted" (x OR y) NEAR -not',
    "ﬁle ＦＵＬＬ width",
    "nul\0byte here",
    Line({"hidden": "secret"}, text="shown instead"),
    Line("nothing to find", text=""),
    "ไทยไม่มีช่องว่าง",
    42,
]


FOUND = [
    ("ann", [1, 5]),
    ("ANN name", [1]),
    ("köln", [1]),
    ("ve in", [1]),
    ("name", [1]),  # keys of objects are not looked at
    ("role", []),
    ("東京", [2]),
    ("京", [2]),
    ("に行き", [2]),
    ("세계", [3]),
    ("녕하", [3]),
    ("quick fox", [4]),
    ("fox quick", [4]),
    ("rown", [4]),
    ("hi,", [5]),
    ("strasse", [6]),
    ("straße", [6]),
    ("100%", [7]),
    ("a_b*", [7]),
    ('"quoted"', [7]),
    ("(x or", [7]),
    ("-not", [7]),
    ("near", [7]),
    ("file", [8]),
    ("full", [8]),
    ("byte", [9]),
    ("nul byte", [9]),
    ("secret", []),
    ("hidden", []),
    ("shown", [10]),
    ("find", []),
    ("ช่อง", [12]),
    ("x", [4, 7]),
    ("nowhere", []),
    ("ann nowhere", []),
    ("'", []),
]


async def test_text_is_found_in_any_script_and_case(store):
    await store.append("log", *TEXTS)
    await store.append("other", *TEXTS)
    for text, positions in FOUND:
        page = await store.search("log", text)
        assert ([entry.position for entry in page.entries], page.total) == (
            positions,
            len(positions),
        ), text


async def test_a_search_for_nothing_finds_everything(store):
    await store.append("log", *TEXTS)
    assert (await store.search("log", "  ")).total == len(TEXTS)


async def test_a_search_is_paged_with_the_true_total(store):
    await store.append("log", *(f"apple {n}" if n % 3 == 0 else f"pear {n}" for n in range(1, 91)))
    apples = list(range(3, 91, 3))
    first = await store.search("log", "apple", limit=7)
    assert ([entry.position for entry in first.entries], first.total) == (apples[:7], 30)
    second = await store.search("log", "apple", limit=7, offset=7)
    assert [entry.position for entry in second.entries] == apples[7:14]
    last = await store.search("log", "apple", limit=7, reverse=True)
    assert [entry.position for entry in last.entries] == apples[::-1][:7]
    beyond = await store.search("log", "apple", offset=30)
    assert (beyond.entries, beyond.total) == ((), 30)
    assert (await store.search("log", "apple", limit=0)).total == 30


async def test_a_search_by_date_takes_the_beginning_and_leaves_the_end(store):
    lines = [Line(f"day {day}", at=DAY + timedelta(days=day)) for day in (0, 3, 1, 2, 4)]
    await store.append("log", *lines)

    async def days(**options):
        page = await store.search("log", **options)
        assert page.total == len(page.entries)
        return [entry.value for entry in page.entries]

    since, until = DAY + timedelta(days=1), DAY + timedelta(days=3)
    assert await days(since=since, until=until) == ["day 1", "day 2"]
    assert await days(since=since) == ["day 3", "day 1", "day 2", "day 4"]
    assert await days(until=until, reverse=True) == ["day 2", "day 1", "day 0"]
    assert await days(text="day 2", since=since) == ["day 2"]
    assert await days(text="2", until=since) == []
    berlin = since.astimezone(datetime.fromisoformat("2026-01-01T00:00+01:00").tzinfo)
    assert await days(since=berlin, until=until) == ["day 1", "day 2"]


async def test_a_search_sees_what_was_just_added(store):
    for number in range(5):
        await store.append("log", f"word {number}")
        assert (await store.search("log", "word")).total == number + 1
        assert (await store.search("log", f"{number}")).total == 1


async def test_a_transaction_does_all(store):
    version = await store.put("a", 1)
    await store.append("log", "one")
    async with store.transaction() as changes:
        changes.put("a", 2, expected=version)
        changes.put("b", 3, expires=timedelta(hours=1))
        assert await changes.append("log", "two") == (2,)
        assert await changes.append("log", "three", "four") == (3, 4)
        assert await changes.append("new", "x") == (1,)
        assert (await store.get("a")).value == 1
        assert await store.end("log") == 1
    assert (await store.get("a")).value == 2
    assert (await store.get("b")).expires
    assert [entry.value for entry in await store.read("log")] == ["one", "two", "three", "four"]
    assert await store.logs() == ["log", "new"]


async def test_a_transaction_that_raises_does_nothing(store):
    await store.put("a", 1)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with store.transaction() as changes:
            changes.put("a", 2)
            changes.delete("b")
            await changes.append("log", 1)
            1 / 0  # noqa: B018
    assert (await store.get("a")).value == 1
    assert await store.logs() == []


async def test_a_transaction_with_one_conflict_does_nothing(store):
    version = await store.put("a", 1)
    await store.append("kept", 1)
    with pytest.raises(Conflict):  # noqa: PT012
        async with store.transaction() as changes:
            changes.put("b", 1)
            changes.drop("kept")
            await changes.append("log", 1)
            changes.delete("a", expected=version + 1)
    assert await store.keys() == ["a"]
    assert await store.logs() == ["kept"]
    assert (await store.health()).ok


async def test_a_transaction_rests_on_what_it_read(store):
    await store.put("balance", 10)
    with pytest.raises(Conflict):  # noqa: PT012
        async with store.transaction() as changes:
            read = await changes.get("balance")
            changes.put("copy", read.value)
            await store.put("balance", 5)
    assert await store.get("copy") is None
    with pytest.raises(Conflict):  # noqa: PT012
        async with store.transaction() as changes:
            assert await changes.get("none yet") is None
            changes.put("copy", 1)
            await store.put("none yet", 5)
    assert await store.get("copy") is None


async def test_a_transactions_positions_hold_or_it_conflicts(store):
    with pytest.raises(Conflict):  # noqa: PT012
        async with store.transaction() as changes:
            assert await changes.append("log", "mine") == (1,)
            await store.append("log", "theirs")
    assert [entry.value for entry in await store.read("log")] == ["theirs"]


async def test_a_transaction_takes_the_ends_that_its_writer_knows(store):
    await store.append("log", "first")
    async with store.transaction(ends={"log": 1, "other": 0}) as changes:
        assert await changes.append("log", "second", "third") == (2, 3)
        assert await changes.append("other", "new") == (1,)
        assert dict(changes.ends) == {"log": 3, "other": 1}
    assert [entry.value for entry in await store.read("log")] == ["first", "second", "third"]


@pytest.mark.parametrize("end", [0, 2])
async def test_ends_that_are_others_by_now_are_a_conflict(store, end):
    await store.append("log", "first")
    with pytest.raises(Conflict):  # noqa: PT012
        async with store.transaction(ends={"log": end}) as changes:
            changes.put("a", 1)
            await changes.append("log", "second")
    assert await store.end("log") == 1
    assert await store.get("a") is None


async def test_a_transaction_tells_the_versions_that_it_has_made(store):
    await store.put("gone", 1)
    async with store.transaction() as changes:
        changes.put("a", 1)
        changes.put("a", 2)
        changes.put("b", 3)
        changes.put("gone", 2)
        changes.delete("gone")
        assert dict(changes.versions) == {}
    assert dict(changes.versions) == {key: (await store.get(key)).version for key in ("a", "b")}
    await store.put("a", 4, expected=changes.versions["a"])


async def test_a_transaction_reads_what_it_wrote(store):
    await store.put("b", 1)
    async with store.transaction() as changes:
        changes.put("a", {"n": 1})
        assert (await changes.get("a")).value == {"n": 1}
        changes.delete("a")
        assert await changes.get("a") is None
        changes.put("a", 2)
        changes.delete("b")
        assert await changes.get("b") is None
    assert (await store.get("a")).value == 2
    assert await store.keys() == ["a"]


async def test_a_transaction_can_drop_and_begin_anew(store):
    await store.append("log", "old", "older")
    async with store.transaction() as changes:
        await changes.append("log", "last")
        changes.drop("log")
        assert await changes.append("log", "new") == (1,)
    assert [(e.position, e.value) for e in await store.read("log")] == [(1, "new")]
    assert (await store.search("log", "new")).total == 1
    assert (await store.search("log", "old")).total == 0
    await store.append("log", "next")
    assert await store.end("log") == 2


async def test_a_transaction_is_over_at_its_end(store):
    async with store.transaction() as changes:
        pass
    for call in (
        lambda: changes.put("a", 1),
        lambda: changes.delete("a"),
        lambda: changes.drop("a"),
    ):
        with pytest.raises(StorageError, match="over"):
            call()
    with pytest.raises(StorageError, match="over"):
        await changes.append("a", 1)


async def test_a_version_made_in_the_transaction_can_not_be_expected(store):
    with pytest.raises(Unstorable, match="already written"):  # noqa: PT012
        async with store.transaction() as changes:
            changes.put("a", 1)
            changes.put("a", 2, expected=1)


async def test_writers_at_the_same_time_lose_nothing(store):
    await store.put("counter", 0)

    async def count():
        for _ in range(10):
            while True:
                document = await store.get("counter")
                try:
                    await store.put("counter", document.value + 1, expected=document.version)
                except Conflict:
                    continue
                break

    await asyncio.gather(*(count() for _ in range(8)))
    assert (await store.get("counter")).value == 80


async def test_transactions_at_the_same_time_keep_documents_and_logs_together(store):
    await store.put("count", 0)

    async def write(name):
        for _ in range(6):
            while True:
                try:
                    async with store.transaction() as changes:
                        count = (await changes.get("count")).value + 1
                        changes.put("count", count)
                        await changes.append("log", [name, count])
                except Conflict:
                    continue
                break

    await asyncio.gather(*(write(name) for name in range(8)))
    entries = await store.read("log")
    assert [entry.value[1] for entry in entries] == list(range(1, 49))
    assert (await store.get("count")).value == 48


async def test_appends_at_the_same_time_are_whole_and_in_a_row(store):
    positions = await asyncio.gather(*(store.append("log", [n, 1], [n, 2]) for n in range(200)))
    assert sorted(position for pair in positions for position in pair) == list(range(1, 401))
    entries = {entry.position: entry.value for entry in await store.read("log")}
    for number, (first, second) in enumerate(positions):
        assert second == first + 1
        assert (entries[first], entries[second]) == ([number, 1], [number, 2])


async def test_one_conflict_among_many_writes_is_only_its_own(store):
    await store.put("a", 1)
    results = await asyncio.gather(
        *(store.put(f"n{n}", n, expected=0) for n in range(20)),
        store.put("a", 2, expected=0),
        *(store.append("log", n) for n in range(20)),
        return_exceptions=True,
    )
    assert [type(result) for result in results if isinstance(result, Exception)] == [Conflict]
    assert (await store.get("a")).value == 1
    assert len(await store.keys("n")) == 20
    assert await store.end("log") == 20


async def test_the_loop_goes_on_while_the_store_works(store):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    task = asyncio.create_task(tick())
    for number in range(20):
        await store.put(f"k{number}", number)
    task.cancel()
    assert ticks >= 20


async def test_a_hundred_thousand_records(store):
    for start in range(0, 100_000, 20_000):
        await store.append(
            "log",
            *({"n": number, "text": f"entry {number}"} for number in range(start, start + 20_000)),
        )
    assert await store.end("log") == 100_000
    assert [e.value["n"] for e in await store.read("log", after=99_998)] == [99_998, 99_999]
    assert [e.value["n"] for e in await store.read("log", reverse=True, limit=1)] == [99_999]
    page = await store.search("log", "entry 7777", limit=5)
    assert page.total == 19
    assert page.entries[0].value["n"] == 7777
    assert (await store.search("log", "entry", offset=99_999)).entries[0].position == 100_000


async def test_many_documents(store):
    for start in range(0, 5000, 1000):
        async with store.transaction() as changes:
            for number in range(start, start + 1000):
                changes.put(f"many/{number % 7}/{number:05}", number)
    assert (await store.stats()).documents == 5000
    found, after = 0, ""
    while page := await store.keys("many/", after=after):
        found, after = found + len(page), page[-1]
    assert found == 5000
    assert len(await store.keys("many/3/")) == len(range(3, 5000, 7))


async def test_stats_count_everything(store):
    await store.put("a", 1)
    await store.put("b", 1)
    await store.append("log", 1, 2, 3)
    stats = await store.stats()
    assert (stats.documents, stats.logs, stats.entries) == (2, 1, 3)
    assert stats.schema >= 1
    assert stats.engine in stats.location or stats.engine in ("sqlite", "file")


async def test_a_backup_holds_that_moment_and_comes_back(store, tmp_path):
    await store.put("a", [1, "é"])
    await store.put("b", 1, expires=timedelta(hours=1))
    await store.append("log", "one word", Line("two", at=DAY, text="secret"))
    before = await store.read("log")
    path = await store.backup(tmp_path / "copies" / "backup")
    assert path == tmp_path / "copies" / "backup"
    await store.put("a", 2)
    await store.put("c", 3)
    newest = await store.put("d", 3)
    await store.append("log", "later")
    await store.append("other", "x")
    await store.restore(path)
    assert (await store.get("a")).value == [1, "é"]
    assert await store.keys() == ["a", "b"]
    assert await store.logs() == ["log"]
    assert await store.read("log") == before
    assert (await store.search("log", "secret")).total == 1
    assert (await store.search("log", "later")).total == 0
    assert await store.put("d", 1) > newest
    assert await store.append("log", "on it goes") == (3,)
    assert (await store.health()).ok


async def test_a_backup_does_not_write_over_anything(store, tmp_path):
    path = await store.backup(tmp_path / "backup")
    with pytest.raises(StorageError, match="there already"):
        await store.backup(path)
    with pytest.raises(StorageError):
        await store.restore(tmp_path / "none")


async def test_a_closed_store_says_so(store):
    await store.put("a", 1)
    await store.close()
    await store.close()
    for call in (lambda: store.get("a"), lambda: store.put("a", 1), lambda: store.append("l", 1)):
        with pytest.raises(StorageError, match="closed"):
            await call()


async def test_a_cancelled_write_leaves_the_store_usable(store):
    tasks = [asyncio.create_task(store.append("log", n, n)) for n in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    values = [entry.value for entry in await store.read("log")]
    assert values[::2] == values[1::2]
    assert {1, 3, 5, 7, 9} <= set(values)
    await store.put("a", 1)
