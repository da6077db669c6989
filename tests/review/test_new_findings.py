"""What a change is blamed for: faults that it brings or makes worse, never those that it leaves or lessens."""

import pytest

from reconciler.model.policy import Policy
from reconciler.review import Review, Verdict
from tests.review.scene import FILES, merging
from tests.spec.revision import CHECKOUT

WEB, WORKER = "web: {count: 1}", "worker: {count: 1}"


def with_web(keys: str) -> str:
    return CHECKOUT.replace(WEB, f"web: {{{keys}}}")


def changed(before: str, after: str, policy: Policy | None = None) -> Review:
    return merging({"checkout.yml": after}, files={**FILES, "checkout.yml": before}, policy=policy)


def new(found: Review) -> list[str]:
    return [str(finding) for finding, is_new in found.findings if is_new]


@pytest.mark.parametrize(
    ("policy", "worse", "better"),
    [
        (Policy(nodes_per_environment=6), "count: 9", "count: 8"),
        (Policy(nodes_in_total=9), "count: 9", "count: 8"),
        (
            Policy(instance_types=("m7i.*", "m6i.*")),
            "count: 1, instance_type: [x1.a, x1.b]",
            "count: 1, instance_type: x1.b",
        ),
    ],
)
def test_who_asks_for_less_than_before_is_not_to_blame_for_what_is_left(
    policy: Policy, worse: str, better: str
) -> None:
    lessened = changed(with_web(worse), with_web(better), policy)
    assert (len(lessened.findings), new(lessened)) == (1, [])
    assert lessened.verdict is not Verdict.FAILED
    (blamed,) = new(changed(with_web(better), with_web(worse), policy))
    assert "against the policy" in blamed


def test_who_lowers_one_environment_is_not_to_blame_that_all_are_too_many() -> None:
    found = merging({"search.yml": None}, policy=Policy(nodes_in_total=2))
    assert (len(found.findings), new(found)) == (1, [])


def test_the_same_fault_a_second_time_in_one_file_is_new() -> None:
    once = with_web("count: 1, bogus: 1")
    twice = once.replace(WORKER, "worker: {count: 1, bogus: 1}")
    (blamed,) = new(changed(once, twice))
    assert blamed.startswith("environments.d/checkout.yml:6: unknown key")
    assert new(changed(twice, once)) == []


def test_of_two_like_faults_the_one_that_was_there_is_known() -> None:
    once = CHECKOUT.replace(WORKER, "worker: {count: 1, bogus: 1}")
    (blamed,) = new(changed(once, once.replace(WEB, "web: {count: 1, bogus: 1}")))
    assert blamed.startswith("environments.d/checkout.yml:5: unknown key")
