"""How long an extended environment lives, and what of its file changes: laws first, then the files that people write."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.extend import Extension, edited, ends_at, extension
from reconciler.document import read_document
from reconciler.errors import Stalled
from reconciler.model.desired import Lifetime

FILE = "environments.d/checkout.yml"

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNITS = {"h": HOUR, "d": 24 * HOUR}

spans = st.integers(1, 2000).map(lambda hours: hours * HOUR)
moments = st.integers(-60 * 24 * 60, 60 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))
lifetimes = st.one_of(
    st.builds(Lifetime, ttl=spans),
    st.builds(Lifetime, expires_at=moments),
    st.builds(Lifetime, ttl=spans, expires_at=moments),
)


def after(wished: Extension, before: Lifetime) -> list[Lifetime]:
    """What the file says then, in each spelling."""
    return [
        Lifetime(
            ttl=int(values["ttl"][:-1]) * UNITS[values["ttl"][-1]] if "ttl" in values else before.ttl,
            expires_at=datetime.fromisoformat(values["expires"]) if "expires" in values else before.expires_at,
        )
        for values in wished.spellings()
    ]


@given(lifetime=lifetimes, ago=spans, longer=spans)
def test_it_ends_when_it_was_said_to_and_that_is_the_time_asked_for_rounded_up_to_an_hour(
    lifetime: Lifetime, ago: timedelta, longer: timedelta
) -> None:
    end = ends_at(lifetime, NOW - ago, None)
    assert end is not None
    wished = extension(lifetime, end, longer, NOW)
    assert timedelta() <= wished.ends_at - (max(NOW, end) + longer) < HOUR
    ends = [ends_at(one, NOW, None) for one in after(wished, lifetime)]
    assert ends[0] == wished.ends_at
    assert all(one is not None and wished.ends_at <= one <= wished.ends_at + HOUR for one in ends)


@given(lifetime=lifetimes, ago=spans, longer=spans)
def test_some_spelling_changes_the_file_whatever_it_said(lifetime: Lifetime, ago: timedelta, longer: timedelta) -> None:
    end = ends_at(lifetime, NOW - ago, None)
    assert end is not None
    spellings = list(extension(lifetime, end, longer, NOW).spellings())
    assert all(one != other for one, other in pairwise(spellings))
    assert all(spelling for spelling in spellings)
    assert len(spellings) > 1 or "expires" in spellings[0]


def test_without_ttl_and_date_the_daemons_default_counts_if_there_is_one() -> None:
    assert ends_at(Lifetime(), NOW, None) is None
    assert ends_at(Lifetime(), NOW, 7 * HOUR) == NOW + 7 * HOUR
    assert ends_at(Lifetime(expires_at=NOW), NOW, -7 * HOUR) == NOW
    assert next(iter(extension(Lifetime(), NOW + HOUR, 5 * HOUR, NOW).spellings())) == {"ttl": "6h"}


lines = st.sampled_from(
    [
        "# ttl: 9d",
        "",
        "owner: 'ttl: 3d'",
        "roles: {web: {count: 1}}  # ttl: 4d",
        "defaults:",
        "  tags: {ttl: 5d}",
        "  # x",
    ]
)


@given(
    before=st.lists(lines, max_size=4, unique=True),
    behind=st.lists(lines, max_size=4),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_only_the_value_changes_whatever_stands_around_it(before: list[str], behind: list[str], newline: str) -> None:
    behind = [line for line in behind if line.startswith("#") or not line]
    text = newline.join([*before, "ttl:   7d\t # till then", *behind, ""])
    try:
        yaml.safe_load(text)
    except yaml.YAMLError:
        return
    assert edited(text, {"ttl": "10d"}, file=FILE) == text.replace("ttl:   7d", "ttl:   10d")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("ttl: 7d", {"ttl": "8d"}, "ttl: 8d"),
        ("ttl: '7d' # x\n", {"ttl": "8d"}, "ttl: 8d # x\n"),
        ("ttl: # none yet\nowner: x\n", {"ttl": "8d"}, "ttl: 8d # none yet\nowner: x\n"),
        ("{owner: x, ttl: 7d}\n", {"ttl": "8d"}, "{owner: x, ttl: 8d}\n"),
        ("---\nowner: x\n", {"ttl": "8d"}, "---\nowner: x\nttl: 8d\n"),
        ("owner: x", {"ttl": "8d"}, "owner: x\nttl: 8d\n"),
        ("owner: x\r\n", {"ttl": "8d"}, "owner: x\r\nttl: 8d\r\n"),
        (
            "ttl: 7d\nexpires: 2026-12-01 # x\n",
            {"ttl": "8d", "expires": "2026-12-02T01:00Z"},
            "ttl: 8d\nexpires: 2026-12-02T01:00Z # x\n",
        ),
        (
            "expires: 2026-12-01\nttl: 7d\n",
            {"expires": "2026-12-02T01:00Z", "ttl": "8d"},
            "expires: 2026-12-02T01:00Z\nttl: 8d\n",
        ),
        ("owner: größe\nttl: 7d\n", {"ttl": "8d"}, "owner: größe\nttl: 8d\n"),
        (
            "owner: x\n# the end\n",
            {"ttl": "8d", "expires": "2026-12-02"},
            "owner: x\n# the end\nttl: 8d\nexpires: 2026-12-02\n",
        ),
    ],
)
def test_files_are_changed_in_place(text: str, values: dict[str, str], expected: str) -> None:
    written = edited(text, values, file=FILE)
    assert written == expected
    assert {key: str(value) for key, value in yaml.load(written, yaml.BaseLoader).items() if key in values} == values


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffowner: x\nttl: 7d\n",
        "owner: x\nttl:\n  7d\n",
        "owner: größe 😀\nttl: 7d # 😀\n",
        '"ttl": "7d"\n"owner": x\n',
        "? ttl\n: 7d\n? owner\n: x\n",
        "%YAML 1.1\n---\nowner: x\nttl: 7d\n",
        "  owner: x\n  ttl: 7d\n",
        "owner: x\nttl: 7d\n...\n",
        "owner: x\rttl: 7d\r",
        "ttl: 7d\ndefaults:\n  user_data: |+\n    echo hi\n\n\n",
        "ttl: 7d\ndefaults:\n  user_data: |\n    echo hi",
        "defaults:\n  user_data: |\n    echo hi\n",
        "defaults:\n  user_data: |+\n    echo hi\n\n",
    ],
)
def test_whatever_the_form_nothing_else_comes_to_mean_something_else(text: str) -> None:
    before, after = (
        read_document(one.encode(), file=FILE).tree for one in (text, edited(text, {"ttl": "8d"}, file=FILE))
    )
    assert after == {**before, "ttl": "8d"}


@pytest.mark.parametrize(
    "text",
    [
        "defaults:\n  user_data: |\n    echo hi",  # a line break would become part of the value
        "owner: x\nttl: >-\n  7d\nbranch: y\n",
        "ttl: |-\n  7d\n# c\nowner: x\n",
        "owner: x\n...\n",
        "  owner: x\n",
        "{owner: x}\n",
        "owner: a\u2028b\nttl: 7d # x\n",
    ],
)
def test_where_something_else_would_change_it_is_left_to_a_person(text: str) -> None:
    with pytest.raises(Stalled, match=re.escape(FILE)) as stalled:
        edited(text, {"ttl": "8d"}, file=FILE)
    assert stalled.value.remedy == "edit it by hand: ttl: 8d"


def test_many_years_are_written_in_days() -> None:
    wished = extension(Lifetime(ttl=HOUR), NOW, 99_999 * HOUR, NOW)
    assert list(wished.spellings()) == [{"ttl": "4167d"}, {"ttl": "4168d"}]
    assert wished.ends_at - NOW == 4167 * 24 * HOUR


def test_where_a_commit_is_dated_at_the_end_of_the_calendar_nothing_is_left_to_extend() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    end = ends_at(Lifetime(ttl=8 * HOUR), last - HOUR, None)
    assert end == last
    with pytest.raises(Stalled, match="it ends 9999-12-31 as things are") as stalled:
        extension(Lifetime(ttl=8 * HOUR), end, HOUR, NOW)
    assert "git log" in stalled.value.remedy
