"""What a review says of an environment's end: when it moves, and that it has passed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.model.commits import Commit
from reconciler.model.cost import Cost
from reconciler.model.names import EnvironmentName
from reconciler.review import Kind, Review, Side, Snapshot, Verdict, review
from reconciler.review.document import review_document
from reconciler.review.fields import Risk
from reconciler.review.markdown import review_markdown
from reconciler.review.wording import expiry as told
from tests.fakes.clock import BEGAN
from tests.review.scene import FILES, HEAD, declared, fields, merging, of, price, runs_as, steps
from tests.review.test_on_a_terminal import previewed, reviewed
from tests.spec.revision import CHECKOUT

Captured = pytest.CaptureFixture[str]

CHECKOUT_NAME = EnvironmentName("checkout")
PAST, NEXT_WEEK, LATER = (
    "expires: 2019-12-31\n",
    "expires: 2026-11-07\n",
    "expires: 2026-12-23\n",
)  # the whole of that day
MORTAL = {**FILES, "checkout.yml": CHECKOUT + "ttl: 14d\n"}
TOUCHED_AT = BEGAN - timedelta(days=10)


def without_notices(files: Mapping[str, str] = FILES) -> Snapshot:
    seen = runs_as(declared(files))
    return replace(seen, rules=replace(seen.rules, notices=()))


def gone(seen: Snapshot) -> Snapshot:
    """Nothing of checkout runs."""
    there = {name: one for name, one in seen.observed.environments.items() if name != CHECKOUT_NAME}
    return replace(seen, observed=replace(seen.observed, environments=there))


def touching(head: Mapping[str, str], *, base: datetime | None = TOUCHED_AT, now: datetime | None = BEGAN) -> Review:
    """Like `merging`, with a history: when checkout.yml was touched last, before the change and by it."""

    def side(files: Mapping[str, str], at: datetime | None, *revision: Any) -> Side:
        desired = declared(files, *revision)
        commit = Commit(revision=desired.revision, author="jessica", subject="Touch", at=at or BEGAN)
        return Side(desired=desired, touched={"checkout.yml": commit} if at else {})

    return review(side(MORTAL, base), side(head, now, HEAD), runs_as(declared(MORTAL)), price)


def test_what_is_created_and_over_launches_nothing_and_costs_nothing(capsys: Captured) -> None:
    found = merging({"fresh.yml": CHECKOUT + PAST})
    (one,) = found.environments
    assert (one.kind, one.risk, steps(one)) == (Kind.CREATED, Risk.IN_PLACE, [])
    assert one.after == Cost()
    assert found.after == found.before
    sentence = "its time is over: nothing of it is launched"
    assert f"fresh is created\n  {sentence}\n  $0.00 a month\n" in reviewed(found, capsys)
    assert f"fresh is created\n  {sentence}\n  $0.00 a month\n" in previewed(found, capsys)
    markdown = review_markdown(found)
    assert "- **fresh** is created, its time is over: $0.00 a month\n" in markdown
    assert f"\n- {sentence}\n" in markdown


def test_what_is_created_with_an_end_says_when(capsys: Captured) -> None:
    found = merging({"fresh.yml": CHECKOUT + NEXT_WEEK})
    (one,) = found.environments
    assert (one.risk, fields(one)["expires"][3]) == (Risk.CREATE, "create")
    assert "  expires on 2026-11-08 00:00 UTC\n" in reviewed(found, capsys)
    assert "- **fresh** is created, expires on 2026-11-08 00:00 UTC: " in review_markdown(found)


def test_what_runs_and_is_over_ends_by_a_notice_of_its_own_and_that_destroys(capsys: Captured) -> None:
    found = merging({"checkout.yml": CHECKOUT + PAST})
    (one,) = found.environments
    assert (one.expiry.after, one.expiry.is_over, steps(one)) == (BEGAN + timedelta(hours=1), False, [])
    assert (one.risk, fields(one)["expires"][3]) == (Risk.DESTROY, "destroy")
    assert "checkout changes (destroy)\n  expires on 2026-11-01 13:00 UTC\n" in reviewed(found, capsys)


def test_where_no_notice_is_given_all_of_it_goes_at_once(capsys: Captured) -> None:
    found = merging(
        {"checkout.yml": (CHECKOUT + PAST).replace("web: {count: 1}", "web: {count: 3}")}, world=without_notices()
    )
    (one,) = found.environments
    assert [step[0] for step in steps(one)[:2]] == ["terminate_node", "terminate_node"]
    assert {key: risk for key, (_, _, _, risk) in fields(one).items()} == {
        "expires": "destroy",
        "roles.web.count": "in-place",
    }
    assert one.after == Cost()
    assert "  its time is over: what runs of it goes\n" in reviewed(found, capsys)


def test_an_end_to_come_destroys_nothing_yet_and_where_nothing_runs_none_does() -> None:
    assert fields(of(merging({"checkout.yml": CHECKOUT + NEXT_WEEK}), "checkout"))["expires"][3] == "in-place"
    found = merging({"checkout.yml": CHECKOUT + PAST}, world=gone(runs_as(declared(FILES))))
    one = of(found, "checkout")
    assert (one.risk, told(one)) == (Risk.IN_PLACE, "its time is over: nothing of it is launched")


def test_an_end_that_is_put_off_is_told_and_one_that_is_taken_off() -> None:
    files = {**FILES, "checkout.yml": CHECKOUT + NEXT_WEEK}
    later = of(merging({"checkout.yml": CHECKOUT + LATER}, files=files), "checkout")
    assert (told(later), later.risk) == ("expires on 2026-12-24 00:00 UTC", Risk.IN_PLACE)
    never = of(merging({"checkout.yml": CHECKOUT}, files=files), "checkout")
    assert (told(never), never.risk) == ("does not expire any more", Risk.IN_PLACE)
    protected = of(merging({"checkout.yml": CHECKOUT + NEXT_WEEK + "protected: true\n"}, files=files), "checkout")
    assert told(protected) == "does not expire any more"
    grown = CHECKOUT.replace("web: {count: 1}", "web: {count: 3}")
    assert told(of(merging({"checkout.yml": grown + NEXT_WEEK}, files=files), "checkout")) == ""


def test_what_had_expired_and_comes_back_is_launched_and_costs_again() -> None:
    files = {**FILES, "checkout.yml": CHECKOUT + PAST}
    found = merging({"checkout.yml": CHECKOUT + LATER}, files=files, world=gone(runs_as(declared(files))))
    (one,) = found.environments
    assert {step[0] for step in steps(one)} >= {"launch_nodes"}
    assert one.before == Cost()
    assert one.after.known > 0


def test_a_commit_that_renews_a_ttl_and_declares_nothing_else_is_told() -> None:
    found = touching(MORTAL)
    (one,) = found.environments
    assert (one.kind, one.fields, told(one)) == (Kind.AFFECTED, (), "expires on 2026-11-15 12:00 UTC")
    assert found.verdict is Verdict.CHANGES
    assert touching(MORTAL, now=TOUCHED_AT).environments == ()


def test_a_history_that_cannot_be_read_takes_no_end_away() -> None:
    assert touching(MORTAL, now=None).environments == ()
    assert touching(MORTAL, base=None).environments == ()
    grown = {**MORTAL, "checkout.yml": MORTAL["checkout.yml"].replace("web: {count: 1}", "web: {count: 3}")}
    assert told(of(touching(grown, now=None), "checkout")) == ""


def test_of_what_is_deleted_no_end_is_told() -> None:
    files = {**FILES, "checkout.yml": CHECKOUT + NEXT_WEEK}
    assert told(of(merging({"checkout.yml": None}, files=files), "checkout")) == ""


def test_the_document_has_both_ends() -> None:
    files = {**FILES, "checkout.yml": CHECKOUT + NEXT_WEEK}
    document: Any = review_document(
        merging({"checkout.yml": CHECKOUT + LATER, "fresh.yml": CHECKOUT + PAST}, files=files)
    )
    checkout, fresh = document["environments"]
    assert (checkout["expires_at_before"], checkout["expires_at"], checkout["is_over"]) == (
        "2026-11-08T00:00:00Z",
        "2026-12-24T00:00:00Z",
        False,
    )
    assert (fresh["expires_at_before"], fresh["expires_at"], fresh["is_over"]) == (None, "2020-01-01T00:00:00Z", True)
