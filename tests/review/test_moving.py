"""What a review says of moving images: what is known is taken, and what nobody looked up is said and never guessed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import Desired, Image, ImageById, ImageByName, ImageByParameter, Json
from reconciler.model.names import ChefName, EnvironmentName, ImageId, RoleName
from reconciler.plan import Context
from reconciler.review import EnvironmentReview, Review, Side, Snapshot, Verdict, review
from reconciler.review.document import review_document
from reconciler.review.fields import Risk
from reconciler.review.markdown import review_markdown
from reconciler.review.moving import is_stand_in, stand_in
from reconciler.review.steps import Step
from tests.plan.builders import IMAGE, NEW_IMAGE
from tests.plan.worlds import random_worlds
from tests.review.scene import FILES, declared, fields, merging, of, runs_as, steps
from tests.review.test_laws import OTHER, price, snapshot_of
from tests.spec.revision import CHECKOUT, PRODUCTION

FIXED = "ami-0123456789abcdef0"
NAME = "ssm:/aws/service/debian"
MOVING = PRODUCTION.replace(FIXED, NAME)
CHECKOUT_WEB = (EnvironmentName("checkout"), RoleName("web"))


def world(files: Mapping[str, str] = FILES, **looked_up: str) -> Snapshot:
    """In which these files run, and of which the moving image was looked up for some role: its id, or why not."""
    made = runs_as(declared(files))
    images = {CHECKOUT_WEB: ImageId(looked_up["image"])} if "image" in looked_up else {}
    troubles = {CHECKOUT_WEB: (looked_up["trouble"], "correct the name")} if "trouble" in looked_up else {}
    observed = replace(made.observed, images=images, unresolved=troubles)
    return replace(made, observed=observed, sources={CHECKOUT_WEB: NAME} if looked_up else {})


def told(one: EnvironmentReview) -> list[tuple[str, str | None, bool]]:
    return [(step.action.value, step.role, step.is_certain) for step in one.steps if step.risk]


def test_an_image_that_nobody_looked_up_may_replace_nodes() -> None:
    found = merging({"production.yml": MOVING})
    one = of(found, "checkout")
    assert found.unresolved == (NAME,)
    assert (one.risk, one.is_certain) == (Risk.REPLACE, False)
    assert told(one) == [("replace_node", "web", False), ("replace_node", "worker", False)]
    assert one.steps[0].reason.detail == f"image: {FIXED} → {NAME}, if that is another image"
    assert fields(one)["roles.web.image"] == (FIXED, NAME, "environments.d/production.yml:6", "replace")
    assert [field.is_certain for field in one.fields] == [False, False]
    assert found.verdict is Verdict.CHANGES


def test_an_image_that_was_looked_up_replaces_only_what_runs_another() -> None:
    same = merging({"production.yml": MOVING}, world=world(image=FIXED))
    assert same.unresolved == ()
    assert (of(same, "checkout").risk, told(of(same, "checkout"))) == (Risk.IN_PLACE, [])
    other = merging({"production.yml": MOVING}, world=world(image="ami-0fedcba9876543210"))
    assert other.unresolved == ()
    assert told(of(other, "production")) == [("replace_node", "web", True), ("replace_node", "worker", True)]
    assert of(other, "checkout").steps[0].reason.detail == f"image: {FIXED} → ami-0fedcba9876543210"


def test_an_image_that_names_nothing_needs_somebody() -> None:
    found = merging({"production.yml": MOVING}, world=world(trouble="no such parameter"))
    assert found.verdict is Verdict.FAILED
    assert "no such parameter" in of(found, "production").stalls[0].message


def test_new_nodes_of_an_image_that_nobody_looked_up_are_certain_to_come() -> None:
    files = {**FILES, "production.yml": MOVING}
    found = merging({"new.yml": CHECKOUT}, files=files)
    one = of(found, "new")
    assert (one.risk, one.is_certain, found.unresolved) == (Risk.CREATE, True, (NAME,))
    assert merging({"new.yml": CHECKOUT}, files=files, world=world(files, image=FIXED)).unresolved == ()


def test_more_nodes_of_a_pinned_image_get_the_pin() -> None:
    found = merging(
        {"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 2}")},
        files={**FILES, "production.yml": MOVING},
    )
    assert found.unresolved == ()
    assert steps(of(found, "checkout")) == [("launch_nodes", "web", 1, "create")]


def test_a_pin_that_is_known_is_no_more_than_the_fixed_image_that_follows_it() -> None:
    """Whoever writes down what runs already replaces nothing; where the pin is assumed, nobody knows."""
    files = {**FILES, "production.yml": MOVING}
    seen = _pinned_to(FIXED, world(files))
    fixed = merging({"production.yml": PRODUCTION}, files=files, world=seen)
    assert told(of(fixed, "checkout")) == []
    assumed = merging({"production.yml": PRODUCTION}, files=files)
    assert told(of(assumed, "checkout")) == [("replace_node", "web", False), ("replace_node", "worker", False)]
    assert assumed.unresolved == ()


def _pinned_to(image: str, snapshot: Snapshot) -> Snapshot:
    """Its nodes run that image, and their Chef roles say so."""
    environments = {
        name: replace(
            here,
            nodes=tuple(replace(one, instance=replace(one.instance, image=ImageId(image))) for one in here.nodes),
            chef_roles={
                ChefName(key): replace(role, default_attributes=_with_pin(role.default_attributes, image))
                for key, role in here.chef_roles.items()
            },
        )
        for name, here in snapshot.observed.environments.items()
    }
    return replace(snapshot, observed=replace(snapshot.observed, environments=environments))


def _with_pin(attributes: Mapping[str, Json], image: str) -> dict[str, Json]:
    mark = attributes["hivequeen"]
    assert isinstance(mark, dict)
    return {**attributes, "hivequeen": {**mark, "image": image}}


def test_where_the_chef_role_is_gone_what_serves_is_kept_and_nothing_is_said_to_be_looked_up() -> None:
    files = {**FILES, "production.yml": MOVING}
    seen = _pinned_to(FIXED, world(files))
    checkout = EnvironmentName("checkout")
    bare = replace(seen.observed.environments[checkout], chef_roles={})
    seen = replace(
        seen,
        observed=replace(seen.observed, environments={**seen.observed.environments, checkout: bare}),
    )
    found = merging({"checkout.yml": CHECKOUT + "project: other\n"}, files=files, world=seen)
    assert found.unresolved == ()
    assert told(of(found, "checkout")) == []


def test_what_another_field_replaces_is_certain_whatever_the_image_is() -> None:
    larger = MOVING.replace("[m7i.large, m6i.large]", "[m7i.xlarge]")
    assert larger != MOVING
    one = of(merging({"production.yml": larger}), "checkout")
    assert told(one) == [("replace_node", "web", True), ("replace_node", "worker", True)]
    by_key = {field.key: field.is_certain for field in one.fields}
    assert (by_key["roles.web.image"], by_key["roles.web.instance_type"], one.is_certain) == (False, True, True)


def test_one_environment_is_told_of_its_own_images_only() -> None:
    found = merging({"production.yml": MOVING, "alone.yml": CHECKOUT.replace("extends: production", _ALONE)})
    assert found.unresolved == (NAME, "ssm:/own")
    assert found.only(EnvironmentName("alone")).unresolved == ("ssm:/own",)


_ALONE = """\
extends: production
defaults: {image: "ssm:/own"}"""


def test_pages_say_may_where_it_hangs_on_the_image_and_who_looks_it_up() -> None:
    text = review_markdown(merging({"production.yml": MOVING}))
    assert "- **checkout** changes (may replace): " in text
    assert f"`{NAME}` is resolved by the daemon when this is merged; nobody looked up which image it names now." in text
    assert "may replace 4 web nodes, one after the other" in text
    assert "`environments.d/production.yml:6` | may replace |" in text
    document: Any = review_document(merging({"production.yml": MOVING}))
    one = document["environments"][0]
    assert (one["risk"], one["is_certain"]) == ("replace", False)
    assert document["unresolved_images"] == [NAME]


# --- laws -----------------------------------------------------------------------------------------------------------

SOURCES: tuple[Image, ...] = (ImageByParameter(parameter="/aws/x"), ImageByName(owner="self", name="app-*"))


@st.composite
def moves(draw: st.DrawFn) -> tuple[Context, Desired]:
    """A world, and a change by which some of its roles get a moving image and nothing else happens."""
    seen = draw(random_worlds(is_full=True))
    environments = {
        name: replace(
            environment,
            roles={
                key: replace(role, image=source) if (source := draw(st.sampled_from((None, *SOURCES)))) else role
                for key, role in environment.roles.items()
            },
        )
        for name, environment in seen.desired.environments.items()
    }
    return seen, replace(seen.desired, revision=OTHER, environments=environments)


def reviewed(change: tuple[Context, Desired], answers: Mapping[Image, ImageId]) -> Review:
    """After each of these images was looked up."""
    seen, head = change
    snapshot = snapshot_of(seen)
    keys = {
        (name, role.name): role.image
        for name, environment in head.environments.items()
        for role in environment.roles.values()
        if role.image in answers
    }
    snapshot = replace(
        snapshot,
        observed=replace(snapshot.observed, images={key: answers[image] for key, image in keys.items()}),
        sources={key: str(image) for key, image in keys.items()},
    )
    return review(Side(desired=seen.desired), Side(desired=head), snapshot, price)


def going(found: Review, *, only_certain: bool = False) -> set[tuple[str, str]]:
    """The nodes that would go, for good or when another has come in their place."""
    return {
        (one.name, target)
        for one in found.environments
        for step in one.steps
        if step.risk in (Risk.REPLACE, Risk.DESTROY) and (_is_sure(step) or not only_certain)
        for target in step.targets
    }


def _is_sure(step: Step) -> bool:
    return step.is_certain and step.risk is Risk.REPLACE


@given(moves(), st.tuples(*[st.sampled_from((IMAGE, NEW_IMAGE, ImageId("ami-9")))] * len(SOURCES)))
def test_no_answer_of_a_lookup_takes_a_node_that_the_review_did_not_name(
    change: tuple[Context, Desired], images: tuple[ImageId, ...]
) -> None:
    unknown, known = reviewed(change, {}), reviewed(change, dict(zip(SOURCES, images, strict=True)))
    assert going(known) <= going(unknown)
    assert going(unknown, only_certain=True) <= going(known)
    assert known.unresolved == ()
    assert all(one.is_certain for one in known.environments)


@given(moves())
def test_no_image_is_told_that_neither_a_file_nor_the_world_names(change: tuple[Context, Desired]) -> None:
    for one in reviewed(change, {}).environments:
        for step in one.steps:
            new = [part for part in step.reason.detail.split() if part.startswith("ami-")]
            assert {part.strip(",;") for part in new} <= {IMAGE, NEW_IMAGE}


@pytest.mark.parametrize(
    "image", [*SOURCES, ImageByName(owner="amazon", name="al2023"), ImageByParameter(parameter="/")]
)
def test_what_stands_for_an_image_is_told_from_any_id(image: Image) -> None:
    assert is_stand_in(stand_in(image))
    assert not is_stand_in(stand_in(ImageById(image_id=ImageId(FIXED))))
