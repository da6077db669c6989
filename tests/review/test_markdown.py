"""Nothing that stands in a file gets out of the page that a reviewer reads."""

import re
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reconciler.review.comment import code
from reconciler.review.markdown import review_markdown
from reconciler.review.wording import printable
from tests.review.scene import FILES, merging
from tests.spec.revision import CHECKOUT, PRODUCTION

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = st.text(st.sampled_from("`|\\<>&*_[]()!#@~$:.-\n\r\t\u202e\u200b\x1b ax1/"), max_size=24) | st.text(
    max_size=12
)
PLACE = "MARK{}MARK"


def html_of(markdown: str) -> str:
    return str(PARSER.render(markdown))


def unescaped(html: str) -> str:
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        html = html.replace(entity, letter)
    return html


@given(HOSTILE)
@example("`")
@example("a`b|c")
@example("</code><script>")
@example("@acme/everybody #1 https://evil.example ![x](y)")
def test_text_is_shown_as_code_and_nothing_else(text: str) -> None:
    html = html_of(f"MARK{code(text)}MARK")
    shown = re.fullmatch(r"<p>MARK(?:<code>(.*)</code>)?MARK</p>\n", html, re.DOTALL)
    assert shown, html
    assert unescaped(shown[1] or "") == printable(text)
    assert "<" not in (shown[1] or "")


@given(HOSTILE, HOSTILE)
def test_text_in_a_table_breaks_out_of_no_cell(first: str, second: str) -> None:
    html = html_of(f"| a | b |\n|---|---|\n| {code(first)} | {code(second)} |\n\nafter\n")
    assert html.count("<td>") == 2
    assert html.count("<tr>") == 2
    assert html.endswith("<p>after</p>\n")


@given(HOSTILE)
def test_a_hostile_file_changes_nothing_but_its_own_cell(text: str) -> None:
    value = (
        "".join(letter for letter in text if letter.isprintable()).replace('"', "").replace("\\", "").replace("'", "")
    )
    value = value.replace("${", "")  # a variable is another matter
    change = f'web: {{count: 1, attributes: {{motto: "{value}"}}}}'
    found = merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", change)})
    if len(found.environments) == 1 and found.environments[0].fields:
        calm = merging(
            {"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 1, attributes: {motto: calm}}")}
        )
        tags = [re.findall(r"</?[a-z]+", html_of(review_markdown(one))) for one in (found, calm)]
        assert tags[0] == tags[1] or value == ""


def test_the_name_of_a_broken_file_is_no_markup() -> None:
    found = merging({"<img src=x>.yml": "a: 1", "a|b`c.yml": "a: 1"})
    html = html_of(review_markdown(found))
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html


def test_the_verdict_comes_first_and_the_details_are_folded() -> None:
    fewer = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 1")
    text = review_markdown(merging({"production.yml": fewer}))
    lines = text.splitlines()
    assert lines[0] == "## hivequeen plan: 1 environment changes, 1 is held"
    assert any(
        line.startswith("- **production** changes (destroy), **held (protected)**: $441.50 → $147.17") for line in lines
    )
    assert lines.count("</details>") == sum(line.startswith("<details>") for line in lines) == 1
    folded = text.partition("<details>")[2]
    assert "| `roles.web.count` | `4` | `1` | `environments.d/production.yml:12` | destroy |" in folded
    assert "- terminate 3 web nodes: `count: web.count 4 → 1`" in folded


def test_an_assumed_world_is_said_and_its_nodes_get_no_digest() -> None:
    found = replace(merging({"production.yml": PRODUCTION.replace("count: 4", "count: 1")}), is_assumed=True)
    text = review_markdown(found)
    assert "Nobody looked at the world" in text
    assert re.search(r"approve [0-9a-f]{12}", text) is None


def test_values_that_are_long_show_where_they_differ() -> None:
    def with_motto(word: str) -> str:
        motto = "a" * 200 + word + "z" * 200
        return CHECKOUT.replace("web: {count: 1}", f"web: {{count: 1, attributes: {{motto: {motto}}}}}")

    before, after = with_motto("old"), with_motto("new")
    text = review_markdown(merging({"checkout.yml": after}, files={**FILES, "checkout.yml": before}))
    (row,) = (line for line in text.splitlines() if "motto" in line and line.startswith("|"))
    assert "aaaold" in row
    assert "aaanew" in row
    assert len(row) < 300
