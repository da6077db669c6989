"""A review on the terminal says what the Markdown of it says, in the same words."""

import pytest

from reconciler.cli import render_review
from reconciler.cli.preview import Preview
from reconciler.review import Review
from reconciler.review.markdown import review_markdown
from tests.review.scene import merging
from tests.spec.revision import PRODUCTION

Captured = pytest.CaptureFixture[str]

NAME = "ssm:/aws/service/debian"
MOVING = PRODUCTION.replace("ami-0123456789abcdef0", NAME)


def reviewed(found: Review, capsys: Captured) -> str:
    render_review.review(found)
    return capsys.readouterr().out


def previewed(found: Review, capsys: Captured) -> str:
    render_review.preview(Preview(review=found, world="as it was", is_priced=True))
    return capsys.readouterr().out


def test_a_field_that_may_replace_says_no_more_than_that(capsys: Captured) -> None:
    found = merging({"production.yml": MOVING})
    row = next(
        line for line in reviewed(found, capsys).splitlines() if "production.yml:6" in line and "  roles." in line
    )
    assert row.split()[-2:] == ["may", "replace"]
    shown = previewed(found, capsys)
    assert "(may replace, environments.d/production.yml:6)" in shown


def test_an_image_that_nobody_looked_up_is_told_as_in_markdown(capsys: Captured) -> None:
    found = merging({"production.yml": MOVING})
    sentence = "is resolved by the daemon when this is merged; nobody looked up which image it names now."
    assert f"`{NAME}` {sentence}" in review_markdown(found)
    assert f"{NAME} {sentence}\n" in reviewed(found, capsys)
    assert f"{NAME} {sentence}\n" in previewed(found, capsys)


def test_a_grace_period_is_an_ending_and_any_other_guard_holds(capsys: Captured) -> None:
    shown = reviewed(merging({"checkout.yml": None, "production.yml": None}), capsys)
    assert "  ending: nothing of it goes within 5 minutes of the merge\n" in shown
    assert "  held (protected): production is protected" in shown
