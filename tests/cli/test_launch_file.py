"""What `launch` writes: read again, it is what was asked for, by our reader and by any other."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.launch import text_of
from reconciler.document import read_document
from reconciler.model.desired import Json

# Letters of which numbers, dates, booleans and the marks of YAML are made.
telling = st.text("0123456789eE+-._:xob nNyYtT~#'\"|>&*!%@`{}[],?=<\u2028\ufeff😀é", max_size=8)
texts = st.one_of(telling, st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12))
keys = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
numbers = st.one_of(st.integers(-(2**63) + 1, 2**63 - 1), st.floats(-1e18, 1e18))
values = st.recursive(
    st.one_of(texts, numbers, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=5,
)


@given(st.dictionaries(keys, values, min_size=1, max_size=3))
def test_any_values_are_read_as_they_were_meant(tree: dict[str, Json]) -> None:
    document = read_document(text_of(tree, b""), file="checkout.yml")
    assert document.findings == ()
    assert document.tree == tree


@pytest.mark.parametrize(
    "text", ["1e3", "1e10", "123e456", "0o17", "12:30", "1_000", "yes", "1.10", "null", "2026-01-01"]
)
def test_what_some_reader_takes_for_something_else_than_text_is_quoted(text: str) -> None:
    written = text_of({"branch": text}, b"")
    assert written.decode() == f"branch: '{text}'\n"
    assert yaml.safe_load(written) == {"branch": text}


@pytest.mark.parametrize(
    "text", ["main", "feature/new-search", "jessica@example.com", "search team", "m7i.large", "7d"]
)
def test_plain_text_stays_plain(text: str) -> None:
    assert text_of({"branch": text}, b"").decode() == f"branch: {text}\n"
