"""The report: one page that needs nothing else, safe whatever the model wrote, the same each time.

The page itself is read as a browser reads it, by `html.parser`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.bench import tables
from llmgate.bench.failures import KINDS, Examples, diff
from llmgate.bench.intervals import Estimate, wilson
from llmgate.bench.packed import inert_json, packed, unpacked
from llmgate.bench.report import _amount, files
from llmgate.bench.report import page as page_of
from llmgate.bench.result import Call, CaseKey, CellKey
from llmgate.bench.scores import AMOUNTS, OUTCOMES, SHARES, CellScore, Scores, score
from tests.bench.results import asked, result

VOID = {"meta", "link"}
ALLOWED = VOID | {"html", "head", "body", "title", "style", "script", "svg", "g", "text", "line"}
ALLOWED |= {"circle", "rect", "a", "header", "nav", "main", "section", "article", "h1", "h2", "h3"}
ALLOWED |= {"h4", "p", "figure", "figcaption", "details", "summary", "div", "table", "caption"}
ALLOWED |= {"thead", "tbody", "tr", "th", "td", "noscript", "code", "form", "button", "span", "ul"}
ALLOWED |= {"li", "pre", "del", "ins", "dl", "dt", "dd"}


class Page(HTMLParser):
    """What a browser would make of a page: its tags, its texts by tag, its scripts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.texts, self.ids, self.labels = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self, *tags):
        return "\n".join(data for tag, data in self.texts if tag in tags)


@pytest.fixture(scope="module")
def run():
    return [
        each
        for model in ("tiny", "big")
        for number, share in enumerate((0.95, 0.9, 0.4))
        for constraint in ("off", "grammar")
        for each in asked(
            share, model=model, wrapper=f"w{number}", constraint=constraint, options='{"x":1}'
        )
    ]


@pytest.fixture(scope="module")
def made(run):
    return files(run)


@pytest.fixture(scope="module")
def page(made):
    return Page(made["report.html"])


def test_the_same_results_make_the_same_bytes_in_whatever_order(run, made):
    mixed = list(run)
    random.Random(5).shuffle(mixed)
    assert files(mixed) == files(iter(run)) == made


def test_the_page_is_whole_and_knows_only_plain_elements(page):
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert len(page.ids) == len(set(page.ids))


def test_the_page_asks_the_network_for_nothing(made, page):
    assert not re.search(r"(?:https?:)?//[a-z]", made["report.html"].replace("# ", ""))
    assert "@import" not in made["report.html"]
    assert "url(" not in made["report.html"]
    for tag, attributes in page.tags:
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if "href" in attributes:
            assert attributes["href"] == "data:," if tag == "link" else attributes["href"][0] == "#"


def test_the_pages_policy_allows_its_own_script_and_style_only(page):
    [policy] = [
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        # The script is the second element of that name: the first is data.
        text = [data for name, data in page.texts if name == tag][-1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_links_within_the_page_and_labels_lead_somewhere(page):
    for _, attributes in page.tags:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in page.ids
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in page.ids


def test_everything_that_scrolls_or_draws_has_a_name_and_can_be_reached(page):
    for tag, attributes in page.tags:
        if attributes.get("class") == "scroll" or tag == "pre":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "</style><img src=x onerror=alert(1)>",
    "</pre></details></body></html><h1>gone</h1>",
    "]]><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% for x in () %}${7*7}",
    "&lt;b&gt; &amp; \" ' `",
    "javascript:alert(1)",
    "\u202egpj.exe\u2066 \x1b[31m \x00 \ud800 \u2028",
    "</title><base href=//evil.example>",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("outcome", ["right", "invalid", "error"])
def test_hostile_text_stays_text_wherever_it_stands(text, outcome):
    hostile = result(
        model=text,
        backend=text,
        wrapper=text,
        options=text,
        suite=text,
        case=text,
        outcome=outcome,
        problems=(text,),
        calls=(Call(text, text),),
        text=text,
        prompt=text,
        grammar=text,
        output=text,
        notes=(text,),
        repairs=1,
        error=text if outcome == "error" else "",
    )
    harmless = result(outcome=outcome, problems=("x",), repairs=1, error="x", notes=("x",))
    made, plain = files([hostile, result()]), files([harmless, result(wrapper="other")])
    page = Page(made["report.html"])
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= ALLOWED
    count = [tag for tag, _ in page.tags].count
    expected = [tag for tag, _ in Page(plain["report.html"]).tags].count
    for tag in ("script", "style", "body", "html", "h1", "title", "form", "meta"):
        if tag != "title":
            assert count(tag) == expected(tag)
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"src", "style"} & set(attributes)
    assert tables.printable(text).strip() in page.text("pre", "del", "ins").replace("\r", "")
    for name, content in made.items():
        content.encode()
        assert not set("\x00\x1b\u202e\u2066\ud800") & set(content), name


def test_hostile_text_in_the_data_of_the_table_stays_data():
    text = "</script><!--\u2028&"
    assert not set("<>&\u2028") & set(inert_json({text: [text]}))
    assert json.loads(inert_json({text: [text]})) == {text: [text]}


@pytest.mark.parametrize("outcome", [name for name in OUTCOMES if name != "right"])
def test_each_kind_of_failure_has_a_section_with_all_there_is_to_see(outcome):
    bad = result(
        outcome=outcome,
        prompt="the <prompt>",
        output="{'a': 1}",
        problems=("a problem",),
        error="BackendTimeout: too late" if outcome == "error" else "",
    )
    page = Page(files([bad, result(case="2")])["report.html"])
    assert f"failure-{outcome}" in page.ids
    assert KINDS[outcome] in page.text("h3")
    assert "the <prompt>" in page.text("pre")
    assert "{'a': 1}" in page.text("pre")
    assert 'add {"a":1}' in page.text("pre")
    assert "a problem" in page.text("li")
    assert "'" in page.text("del")
    assert "add" in page.text("ins")
    assert ("BackendTimeout: too late" in page.text("li")) == (outcome == "error")


def test_an_error_that_is_a_problem_already_is_not_said_twice():
    bad = result(outcome="invalid", problems=("no such tool",), error="OutputError: no such tool")
    examples = Examples()
    examples.add(bad)
    assert examples.chosen()["invalid"][0].problems == ("no such tool",)


def test_right_answers_that_were_repaired_are_shown_too():
    page = Page(files([result(repairs=1)])["report.html"])
    assert "failure-repaired" in page.ids
    assert [each for each in page.ids if each.startswith("failure-")] == ["failure-repaired"]


def test_where_nothing_went_wrong_that_is_said():
    assert "Nothing went wrong." in files([result()])["report.html"]


def test_examples_are_of_different_wrappers_and_few():
    many = [
        result(wrapper=f"w{number % 40}", case=str(number), outcome="invalid")
        for number in range(2000)
    ]
    examples = Examples()
    for each in many:
        examples.add(each)
    chosen = examples.chosen()["invalid"]
    assert 2 <= len({each.result.wrapper for each in chosen}) == len(chosen) <= 6
    again = Examples()
    for each in reversed(many):
        again.add(each)
    assert again.chosen() == examples.chosen()


def test_long_texts_are_cut_in_the_middle_and_it_says_how_much():
    prompt = "begin " + "x" * 50_000 + " end"
    examples = Examples()
    examples.add(result(outcome="invalid", prompt=prompt, output="<" * 90_000))
    [example] = examples.chosen()["invalid"]
    assert example.prompt.startswith("begin xxx")
    assert example.prompt.endswith("xxx end")
    [left] = re.findall(r"⋯ (\d+) characters are left out ⋯", example.prompt)
    assert int(left) + len(example.prompt) - len(f"\n⋯ {left} characters are left out ⋯\n") == (
        len(prompt)
    )
    assert len(example.output) < 1000


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_diff_holds_both_texts(before, after):
    pieces = diff(before, after)
    assert "".join(each.text for each in pieces if each.change != "new") == before
    assert "".join(each.text for each in pieces if each.change != "gone") == after


@given(st.lists(st.none() | st.integers(0, 10**6), max_size=80), st.sampled_from([1, 10, 1000]))
def test_packed_numbers_come_out_as_they_went_in(values, scale):
    found = unpacked(packed(values, scale), len(values))
    assert found == [None if value is None else value / scale for value in values]


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 30)), min_size=1, max_size=9))
def test_intervals_come_out_as_they_are_shown_elsewhere(values):
    found = [Estimate(value, max(0, value - half), value + half, 9) for value, half in values]
    columns = {name: unpacked(each, len(values)) for name, each in _amount("rate", found).items()}
    for row, estimate in enumerate(found):
        middle, half = columns["rate"][row], columns["rate_h"][row]
        low = max(0, middle - half) + (columns["rate_l"][row] - 1) / 10
        again = Estimate(middle, low, middle + half)
        assert tables.interval("rate", again) == tables.interval("rate", estimate)


def test_the_tables_data_holds_the_scores_of_every_cell(run, page):
    [text] = [data for name, data in page.texts if name == "script" and data.startswith("{")]
    data = json.loads(text)
    columns = {}
    for name, each in data["columns"].items():
        columns[name] = columns[each] if isinstance(each, str) else unpacked(each, data["rows"])
    cells = {cell.key: cell for cell in score(run).cells}
    assert data["rows"] == len(cells) == 12
    for row in range(data["rows"]):
        key = tuple(
            data["words"][name][int(columns[name][row])]
            for name in ("model", "backend", "wrapper", "options", "constraint")
        )
        cell = cells.pop(key)
        assert columns["n"][row] == cell.n
        for name in SHARES:
            found = cell.estimate(name)
            assert columns[f"{name}_n"][row] == found.n
            assert columns[f"{name}_e"][row] == found.effective
            assert (columns[f"{name}_k"][row] or 0) / max(1, found.n) == (found.value or 0)
        for name in AMOUNTS:
            assert columns[name][row] == pytest.approx(cell.estimate(name).value, rel=0.02)
    assert not cells


def worst(luck, cell):
    """A cell whose numbers all take as much room as they may."""
    shares = {}
    # Some cells were not asked all cases, but few of them differ in how many.
    n = luck.randrange(950, 1000)
    for name in SHARES:
        shares[name] = wilson(luck.randrange(n), n, luck.randrange(100, 500))
    amounts = {}
    for name, most in (
        ("tokens_in", 20_000),
        ("tokens_out", 3000),
        ("cached", 1),
        ("first_token", 60),
        ("rate", 2000),
    ):
        value, half = luck.uniform(0, most), luck.uniform(0, most)
        amounts[name] = Estimate(value, max(0, value - half), value + half, 500)
    key = CellKey(
        f"some-model-{cell % 40}-7b-instruct",
        ("embedded", "llamacpp")[cell // 40 % 2],
        f"wrapper-{cell // 80 % 40}",
        f'{{"thoughts":{cell % 97}}}',
        ("off", "schema", "grammar", "native")[cell // 3200],
    )
    seen = (1 << 100) - 1
    return CellScore(
        key=key,
        n=n,
        errors=luck.randrange(1000),
        outcomes=tuple(luck.randrange(1000) for _ in OUTCOMES),
        repairs=9,
        retries=9,
        seen=seen,
        correct=luck.getrandbits(100),
        **shares,
        **amounts,
    )


def test_a_page_of_ten_thousand_cells_is_no_larger_than_a_megabyte():
    luck = random.Random(11)
    cells = sorted((worst(luck, cell) for cell in range(10_000)), key=lambda cell: cell.key)
    cases = tuple(CaseKey("calls", f"{number:03}", 0) for number in range(100))
    scores = Scores(tuple(cells), cases, tuple(range(100)))
    examples = Examples()
    for outcome in OUTCOMES:
        for number in range(20):
            examples.add(
                result(
                    wrapper=f"wrapper-{number}",
                    outcome=outcome,
                    repairs=1,
                    prompt="<é>" * 4000,
                    output="&<\x00😀" * 3000,
                    text="'a' " * 3000,
                    calls=(),
                    problems=("<problem>" * 500,) * 50,
                    notes=("repaired",) * 500,
                )
            )
    text = page_of(scores, tables.models(scores), examples)
    assert len(text.encode()) <= 1_000_000
    assert "more cells are in" not in text
    assert Page(text).open == []


def test_more_cells_than_fit_are_in_the_csv_and_that_is_said(monkeypatch):
    monkeypatch.setattr("llmgate.bench.report._CELLS", 5)
    made = files([result(wrapper=f"w{number}") for number in range(9)])
    assert "4 more cells are in" in made["report.html"]
    assert len(made["results.csv"].splitlines()) == 10


def test_names_that_are_long_and_many_make_no_page_that_is_too_large():
    names = [f"{number} " + "long " * 200 for number in range(900)]
    made = files([result(options=name) for name in names])
    assert len(made["report.html"].encode()) <= 1_000_000
    [more] = re.findall(r"(\d+) more cells are in", made["report.html"])
    assert 0 < int(more) < 900


def test_a_report_of_nothing_says_so():
    made = files([])
    assert "There are no results." in made["report.html"]
    assert Page(made["report.html"]).open == []


def test_the_page_says_what_cannot_be_told_apart(page):
    said = page.text("p")
    assert "cannot be told apart from" in said
    assert "cannot be told apart" in page.text("td")
    assert "is better" in page.text("td")
