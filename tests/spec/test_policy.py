"""What files may ask for: a violation is told and blocks growth; it never freezes or removes anything."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.cost import Cost
from reconciler.model.desired import Desired, Environment, Json
from reconciler.model.findings import Finding, Origin, new_findings
from reconciler.model.names import EnvironmentName
from reconciler.model.policy import Policy
from reconciler.spec import SpecReader
from reconciler.spec.policy import MonthlyCost
from tests.spec.revision import CHECKOUT, PRODUCTION, USER_DATA_LIMIT_BYTES, Revision, read, told

FILES = {"production.yml": PRODUCTION, "checkout.yml": CHECKOUT}
AT = Origin(file="hivequeen.yml", line=40)


def judged(policy: Policy, files: Mapping[str, str | bytes] = FILES, cost: MonthlyCost | None = None) -> Desired:
    spec = SpecReader(user_data_limit_bytes=USER_DATA_LIMIT_BYTES, policy=policy, monthly_cost=cost)
    return Revision(files).read_with(spec)


def lines(desired: Desired) -> list[str]:
    return [line.removeprefix("environments.d/").replace("against the policy: ", "") for line in told(desired)]


def violators(desired: Desired) -> set[str]:
    return {name for name, environment in desired.environments.items() if environment.violations}


def with_line(line: str) -> dict[str, str]:
    return {"production.yml": PRODUCTION, "checkout.yml": f"{CHECKOUT}{line}\n"}


def nodes(environment: Environment) -> Cost:
    """100 a node and month."""
    return Cost(known=Decimal(100) * sum(role.count for role in environment.roles.values()))


def partly(environment: Environment) -> Cost:
    """Nobody knows what the volumes cost."""
    return nodes(environment) + Cost(unknown=("gp9 volumes in us-east-1",))


def test_without_policy_nothing_is_violated() -> None:
    assert judged(Policy()) == read(FILES)


@pytest.mark.parametrize(
    ("policy", "files", "expected"),
    [
        (
            Policy(instance_types=("m7i.*", "t3.*")),
            FILES,
            ["production.yml:7: instance_type m6i.large is not allowed (name one like m7i.*, t3.*)"],
        ),
        (Policy(instance_types=("m?i.large",)), FILES, []),
        (
            Policy(owner="*@example.org"),
            FILES,
            [
                'checkout.yml:2: owner "jessica@example.com" is not like *@example.org (name another)',
                'production.yml:2: owner "ops@example.com" is not like *@example.org (name another)',
            ],
        ),
        (
            Policy(nodes_per_environment=3),
            FILES,
            ["production.yml:10: production asks for 6 nodes, at most 3 are allowed (lower some count)"],
        ),
        (
            Policy(parents=("staging", "_*")),
            FILES,
            ["checkout.yml:1: production may not be extended (extend one of staging, _*)"],
        ),
        (
            Policy(protected=("production", "checkout")),
            FILES,
            ["checkout.yml:1: checkout must be protected (add protected: true)"],
        ),
        (
            Policy(protected=("checkout",)),
            with_line("protected: true"),
            ["production.yml:4: production may not be protected (remove it; only checkout may be)"],
        ),
        (
            Policy(requires_ttl=True),
            FILES,
            ["checkout.yml:1: ttl is missing (add how long the environment lives, such as ttl: 14d)"],
        ),
        (Policy(requires_ttl=True), with_line("ttl: 3d"), []),
        (Policy(requires_ttl=True), with_line("expires: 2026-12-24"), []),
        (Policy(requires_ttl=True, default_ttl=timedelta(days=3)), FILES, []),
        (
            Policy(maximum_ttl=timedelta(days=7)),
            with_line("ttl: 14d"),
            ["checkout.yml:7: ttl is 14d, at most 7d are allowed (shorten it, and extend it when needed)"],
        ),
        (Policy(maximum_ttl=timedelta(days=14)), with_line("ttl: 14d"), []),
        (Policy(maximum_ttl=timedelta(days=7), default_ttl=timedelta(days=7)), FILES, []),
        (
            Policy(maximum_ttl=timedelta(hours=36)),
            FILES,
            ["checkout.yml:1: it lives for ever: at most 1 day, 12:00:00 are allowed (add a ttl)"],
        ),
        (
            Policy(maximum_ttl=timedelta(days=7), default_ttl=timedelta(days=7)),
            with_line("expires: 2999-12-24"),
            [("checkout.yml:7: expires alone does not bound how long it lives: at most 7d are allowed (add a ttl)")],
        ),
        (
            Policy(
                schema={"properties": {"roles": {"additionalProperties": {"properties": {"count": {"maximum": 3}}}}}}
            ),
            FILES,
            ["production.yml:12: roles.web.count: 4 is greater than the maximum of 3"],
        ),
        (
            Policy(schema={"required": ["ttl"]}),
            FILES,
            ["checkout.yml:1: 'ttl' is a required property", "production.yml:1: 'ttl' is a required property"],
        ),
        (
            Policy(
                schema={
                    "properties": {"branch": {"pattern": "^(main|feature/.*)$", "errorMessage": "main or feature/…"}}
                }
            ),
            FILES,
            ["checkout.yml:3: branch: must be main or feature/…"],
        ),
    ],
)
def test_a_bound_and_what_is_said_beyond_it(
    policy: Policy, files: Mapping[str, str | bytes], expected: list[str]
) -> None:
    desired = judged(policy, files)
    assert lines(desired) == expected
    assert not desired.frozen
    assert {broken.finding for one in desired.environments.values() for broken in one.violations} == set(
        desired.findings
    )


def test_protected_environments_need_no_ttl() -> None:
    assert violators(judged(Policy(requires_ttl=True, maximum_ttl=timedelta(days=1)))) == {"checkout"}


def test_more_nodes_than_all_may_have_stand_against_all_but_the_protected() -> None:
    policy = Policy(nodes_in_total=7, origins={"nodes.total": AT})
    desired = judged(policy)
    assert lines(desired) == [
        (
            "hivequeen.yml:40: all environments together ask for 8 nodes, at most 7 are allowed "
            "(lower some count (production 6, checkout 2), or raise policy.nodes.total)"
        )
    ]
    assert violators(desired) == {"checkout"}
    assert judged(Policy(nodes_in_total=8)).findings == ()


def test_cost_is_bounded_by_what_somebody_else_says_it_is() -> None:
    policy = Policy(monthly_cost_per_environment=300.5, monthly_cost_in_total=700, origins={"monthly_cost.total": AT})
    assert judged(policy).findings == (), "without prices there are no bounds"
    assert lines(judged(policy, cost=nodes)) == [
        "production.yml:10: a month of production costs 600.00, at most 300.50 are allowed (ask for fewer or smaller nodes)",
        (
            "hivequeen.yml:40: a month of all environments together costs 800.00, at most 700.00 are allowed "
            "(ask for less (production 600, checkout 200), or raise policy.monthly_cost.total)"
        ),
    ]


UNKNOWN = (
    "costs is bounded, and no price is known for gp9 volumes in us-east-1 "
    "(name what the price table holds, or refresh it: hivequeen prices update)"
)


def test_a_price_that_is_not_known_is_said_and_not_guessed() -> None:
    files = {"production.yml": PRODUCTION}
    unknown = f"production.yml:10: what a month of production {UNKNOWN}"
    assert lines(judged(Policy(monthly_cost_per_environment=600), files, cost=partly)) == [unknown]
    dear = "production.yml:10: a month of production costs at least 600.00, at most 300.00 are allowed"
    assert lines(judged(Policy(monthly_cost_per_environment=300), files, cost=partly)) == [
        f"{dear} (ask for fewer or smaller nodes)",
        unknown,
    ]


def test_an_unknown_price_is_no_way_round_a_total() -> None:
    policy = Policy(monthly_cost_in_total=700, origins={"monthly_cost.total": AT})
    unknown = [
        f"checkout.yml:4: what a month of checkout {UNKNOWN}",
        f"production.yml:10: what a month of production {UNKNOWN}",
    ]
    beyond = "hivequeen.yml:40: a month of all environments together costs at least 800.00"
    found = lines(judged(policy, cost=partly))
    assert [*found[:2], found[2].partition(", at most")[0]] == [*unknown, beyond]
    assert lines(judged(Policy(monthly_cost_in_total=800), cost=partly)) == unknown
    assert judged(Policy(monthly_cost_in_total=800), cost=nodes).findings == ()


def shapes(desired: Desired, name: str = "production") -> list[tuple[str, str, str]]:
    violations = desired.environments[EnvironmentName(name)].violations
    return [(shape.role, shape.field, shape.value) for broken in violations for shape in broken.shapes]


def test_a_violation_says_which_shape_of_which_role_must_not_come() -> None:
    files = {"production.yml": PRODUCTION.replace("    count: 2\n", "    count: 2\n    root_volume: {size: 900}\n")}
    types = judged(Policy(instance_types=("m7i.*",)), files)
    assert shapes(types) == [("web", "instance_type", "m6i.large"), ("worker", "instance_type", "m6i.large")]
    assert len(types.environments[EnvironmentName("production")].violations) == 1, "they have the line in common"
    dear = [
        ("web", "instance_type", "m7i.large"),
        ("worker", "instance_type", "m7i.large"),
        ("worker", "root_volume", ""),
    ]
    assert shapes(judged(Policy(monthly_cost_per_environment=1), files, cost=nodes)) == dear
    assert shapes(judged(Policy(monthly_cost_per_environment=1000), files, cost=partly)) == dear


def of_roles(schema: Json) -> Policy:
    return Policy(schema={"properties": {"roles": {"additionalProperties": schema}}})


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            of_roles({"properties": {"root_volume": {"properties": {"size": {"maximum": 100}}}}}),
            [("worker", "root_volume", "")],
        ),
        (of_roles({"required": ["root_volume"]}), [("web", "", "")]),
        (
            of_roles({"properties": {"instance_type": {"items": {"enum": ["m7i.large"]}}}}),
            [("web", "instance_type", "m6i.large"), ("worker", "instance_type", "m6i.large")],
        ),
        (
            of_roles({"properties": {"instance_type": {"maxItems": 1}}}),
            [("web", "instance_type", ""), ("worker", "instance_type", "")],
        ),
        (Policy(schema={"required": ["ttl"]}), []),
        (Policy(schema={"properties": {"roles": {"maxProperties": 1}}}), []),
        (Policy(owner="x"), []),
        (Policy(nodes_per_environment=1), []),
        (Policy(nodes_in_total=1), []),
    ],
)
def test_what_is_not_in_a_role_is_about_no_shape(policy: Policy, expected: list[tuple[str, str, str]]) -> None:
    volume = PRODUCTION.replace("    count: 2\n", "    count: 2\n    root_volume: {size: 900}\n")
    desired = judged(policy, {"production.yml": volume})
    assert desired.findings
    assert shapes(desired) == expected


def test_only_what_all_ask_for_together_is_of_the_total() -> None:
    files = {"checkout.yml": PRODUCTION.replace("protected: true\n", "")}
    bounds = Policy(
        nodes_in_total=1, nodes_per_environment=2, monthly_cost_in_total=10_000, monthly_cost_per_environment=3
    )
    (checkout,) = judged(bounds, files, cost=nodes).environments.values()
    assert sorted((broken.is_total, broken.finding.subject) for broken in checkout.violations) == [
        (False, "cost of checkout"),
        (False, "nodes of checkout"),
        (True, "nodes in total"),
    ]
    (checkout,) = judged(Policy(monthly_cost_in_total=10_000), files, cost=partly).environments.values()
    assert [(broken.is_total, broken.shapes) for broken in checkout.violations] == [(True, ())]


@pytest.mark.parametrize(
    ("policy", "bad", "worse"),
    [
        (Policy(nodes_per_environment=3), "count: 4", "count: 5"),
        (Policy(nodes_in_total=3), "count: 4", "count: 5"),
        (Policy(monthly_cost_per_environment=3), "count: 4", "count: 5"),
        (Policy(monthly_cost_in_total=3), "count: 4", "count: 5"),
        (Policy(maximum_ttl=timedelta(days=1)), "count: 4}}\nttl: 3d #", "count: 4}}\nttl: 4d #"),
        (of_roles({"properties": {"count": {"maximum": 1}}}), "count: 4", "count: 5"),
        (of_roles({"properties": {"count": {"minimum": 9}}}), "count: 5", "count: 4"),
        (of_roles({"properties": {"run_list": {"maxItems": 0}}}), "run_list: [a]", "run_list: [a, b]"),
        (of_roles({"properties": {"run_list": {"minItems": 3}}}), "run_list: [a, b]", "run_list: [a]"),
    ],
)
def test_a_fault_that_is_lessened_is_the_same_fault_and_a_greater_one_is_not(
    policy: Policy, bad: str, worse: str
) -> None:
    def found(web: str) -> tuple[Finding, ...]:
        text = f"extends: production\nowner: a@example.com\nbranch: main\nroles: {{web: {{{web}}}}}\n"
        production = PRODUCTION.replace("count: 4", "count: 0").replace("count: 2", "count: 0")
        return judged(policy, {"production.yml": production, "checkout.yml": text}, cost=nodes).findings

    before, after = found(bad), found(worse)
    assert before != after
    assert not new_findings(before, after)
    assert new_findings(after, before)


def test_another_forbidden_text_in_the_same_place_is_the_same_fault() -> None:
    policy = Policy(schema={"properties": {"branch": {"pattern": "^main$"}}})
    before = judged(policy)
    after = judged(policy, {**FILES, "checkout.yml": CHECKOUT.replace("checkout-redesign", "another")})
    assert before.findings != after.findings
    assert not new_findings(after.findings, before.findings)


def test_the_schema_sees_what_is_merged_and_put_in() -> None:
    schema: dict[str, Json] = {
        "additionalProperties": False,
        "properties": {
            "extends": {"const": "production"},
            "project": {},
            "owner": {},
            "branch": {"const": "feature-checkout"},
            "roles": {"additionalProperties": {"required": ["image", "subnets"]}, "maxProperties": 2},
        },
    }
    files = {**FILES, "checkout.yml": CHECKOUT.replace("checkout-redesign", "feature-${environment}")}
    assert violators(judged(Policy(schema=schema), files)) == {"production"}


def test_what_a_schema_says_by_itself_is_cut_where_it_repeats_whole_values() -> None:
    desired = judged(Policy(schema={"properties": {"roles": {"properties": {"worker": False}}}}))
    assert {line.partition(" {")[0] for line in lines(desired)} == {
        "checkout.yml:4: roles: False schema does not allow",
        "production.yml:10: roles: False schema does not allow",
    }
    assert all(line.endswith("…") and len(line) < 300 for line in lines(desired))


def test_a_schema_that_never_ends_is_told_and_breaks_nothing() -> None:
    policy = Policy(schema={"$ref": "#"}, origins={"schema": AT})
    desired = judged(policy)
    assert lines(desired) == ["hivequeen.yml:40: policy.schema refers to itself without end (correct it, or remove it)"]
    assert violators(desired) == {"production", "checkout"}


def test_a_broken_file_is_judged_by_itself_and_not_by_policy() -> None:
    desired = judged(Policy(owner="x"), {"checkout.yml": "extends: [\n"})
    assert len(desired.findings) == 1


COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@given(COUNTS, st.integers(0, 12), st.integers(0, 6))
def test_policy_adds_findings_and_changes_nothing_else(counts: list[int], total: int, each: int) -> None:
    files = {"production.yml": PRODUCTION}
    for index, count in enumerate(counts):
        files[f"e{index}.yml"] = CHECKOUT.replace("web: {count: 1}", f"web: {{count: {count}}}")
    free, bound = read(files), judged(Policy(nodes_in_total=total, nodes_per_environment=each), files)
    assert bound.environments.keys() == free.environments.keys()
    assert bound.frozen == free.frozen
    for name, environment in bound.environments.items():
        assert environment.roles == free.environments[EnvironmentName(name)].roles
    assert set(free.findings) <= set(bound.findings)
