"""What a review says of each kind of change."""

from dataclasses import replace
from decimal import Decimal

from reconciler.model.memory import Suspension
from reconciler.model.names import ChefName, EnvironmentName, RoleName
from reconciler.model.observed import Phase
from reconciler.model.plan import Guard
from reconciler.model.policy import Policy
from reconciler.review import Kind, Stop, Verdict, foresee
from reconciler.review.fields import Risk
from reconciler.review.foresee import Side
from tests.fakes.clock import BEGAN
from tests.review.scene import BASE, FILES, HEAD, declared, fields, merging, of, runs_as, steps
from tests.spec.revision import CHECKOUT, PRODUCTION

WEB = RoleName("web")
UNPROTECTED = {**FILES, "production.yml": PRODUCTION.replace("protected: true", "protected: false")}


def test_more_nodes_are_launched_and_cost_more() -> None:
    found = merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 3}")})
    assert found.verdict is Verdict.CHANGES
    (one,) = found.environments
    assert (one.kind, one.risk) == (Kind.CHANGED, Risk.CREATE)
    assert fields(one) == {"roles.web.count": (1, 3, "environments.d/checkout.yml:5", "create")}
    assert steps(one) == [("launch_nodes", "web", 2, "create")]
    assert (one.after.known - one.before.known, found.after.known - found.before.known) == (Decimal("147.168"),) * 2


def test_a_parents_change_is_told_of_its_children_at_the_parents_line() -> None:
    found = merging({"production.yml": PRODUCTION.replace("def0", "def1")})
    assert [one.name for one in found.environments] == ["checkout", "production", "search"]
    one = of(found, "checkout")
    assert fields(one)["roles.web.image"] == (
        "ami-0123456789abcdef0",
        "ami-0123456789abcdef1",
        "environments.d/production.yml:6",
        "replace",
    )
    assert steps(of(found, "production"))[:2] == [
        ("replace_node", "web", 4, "replace"),
        ("replace_node", "worker", 2, "replace"),
    ]


def test_fewer_nodes_are_terminated() -> None:
    found = merging(
        {"production.yml": UNPROTECTED["production.yml"].replace("count: 4", "count: 1")}, files=UNPROTECTED
    )
    (one,) = found.environments
    assert fields(one) == {"roles.web.count": (4, 1, "environments.d/production.yml:12", "destroy")}
    assert steps(one) == [("terminate_node", "web", 3, "destroy")]
    assert found.verdict is Verdict.CHANGES


def test_fewer_nodes_than_asked_for_destroy_nothing_where_they_never_ran() -> None:
    base = declared(UNPROTECTED)
    world = runs_as(base)
    production = EnvironmentName("production")
    there = world.observed.environments[production]
    empty = replace(there, nodes=tuple(node for node in there.nodes if node.role != WEB))
    observed = replace(world.observed, environments={**world.observed.environments, production: empty})
    found = merging(
        {"production.yml": UNPROTECTED["production.yml"].replace("count: 4", "count: 1")},
        files=UNPROTECTED,
        world=replace(world, observed=observed),
    )
    (one,) = found.environments
    assert steps(one) == []
    assert fields(one)["roles.web.count"][3] == "in-place"


def test_what_is_pending_already_is_not_blamed_on_the_change() -> None:
    base = declared(FILES)
    world = runs_as(base)
    checkout = EnvironmentName("checkout")
    there = world.observed.environments[checkout]
    empty = replace(there, nodes=())
    lacking = replace(
        world, observed=replace(world.observed, environments={**world.observed.environments, checkout: empty})
    )
    assert foresee(Side(desired=base), lacking).plan.environments[0].actions
    found = merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 3}")}, world=lacking)
    (one,) = found.environments
    assert steps(one) == [("launch_nodes", "web", 2, "create")]
    assert merging({}, world=lacking).environments == ()


def test_a_protected_environment_is_not_halved() -> None:
    found = merging({"production.yml": PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 1")})
    one = of(found, "production")
    assert found.verdict is Verdict.HELD
    (hold,) = one.holds
    assert (hold.guard, hold.holds) == (Guard.PROTECTED, True)
    assert "4 of its 6 nodes" in hold.message
    assert sum(step.count for step in hold.steps) == 4


def test_a_deleted_environment_goes_after_a_grace_period() -> None:
    found = merging({"checkout.yml": None})
    (one,) = found.environments
    assert (one.kind, one.risk, found.verdict) == (Kind.DELETED, Risk.DESTROY, Verdict.CHANGES)
    assert steps(one) == [("terminate_node", "web", 1, "destroy"), ("terminate_node", "worker", 1, "destroy")]
    (hold,) = one.holds
    assert (hold.guard, hold.holds) == (Guard.GRACE, False)
    assert "5 minutes" in hold.message
    assert one.after.known == 0


def test_a_deleted_environment_of_which_nothing_runs_destroys_nothing() -> None:
    base = declared(FILES)
    world = runs_as(base)
    rest = {name: there for name, there in world.observed.environments.items() if name != "checkout"}
    found = merging({"checkout.yml": None}, world=replace(world, observed=replace(world.observed, environments=rest)))
    (one,) = found.environments
    assert (one.kind, one.risk) == (Kind.DELETED, Risk.IN_PLACE)


def test_a_protected_environment_outlives_its_file() -> None:
    alone = {"production.yml": PRODUCTION, "other.yml": PRODUCTION.replace("protected: true", "protected: false")}
    found = merging({"production.yml": None}, files=alone)
    assert found.verdict is Verdict.HELD
    assert [hold.guard for hold in of(found, "production").holds if hold.holds] == [Guard.PROTECTED]


def test_more_deletions_than_the_limit_are_held_together() -> None:
    many = {f"e{n}.yml": CHECKOUT for n in range(6)}
    found = merging(dict.fromkeys([f"e{n}.yml" for n in range(4)]), files={**FILES, **many})
    assert found.verdict is Verdict.HELD
    assert {hold.guard for one in found.environments for hold in one.holds if hold.holds} == {Guard.PRUNE_ENVIRONMENTS}


def test_a_revision_without_environments_is_held() -> None:
    found = merging(dict.fromkeys(FILES))
    guards = {hold.guard for one in found.environments for hold in one.holds if hold.holds}
    assert found.verdict is Verdict.HELD
    assert guards == {Guard.EMPTY_REVISION, Guard.PROTECTED}


def test_a_suspended_environment_keeps_its_steps_waiting() -> None:
    base = declared(FILES)
    suspension = Suspension(environment=None, reason="a holiday", actor="ops", since=BEGAN, until=None)
    world = runs_as(base)
    world = replace(world, memory=replace(world.memory, suspensions=(suspension,)))
    found = merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 3}")}, world=world)
    assert found.verdict is Verdict.HELD
    assert [hold.guard for hold in of(found, "checkout").holds] == [Guard.SUSPENDED]


def test_what_holds_the_whole_installation_holds_the_change_but_observing_only_tells() -> None:
    change = {"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 3}")}
    for guard, verdict in ((Guard.NOT_OWNER, Verdict.HELD), (Guard.OBSERVE_MODE, Verdict.CHANGES)):
        stop = Stop(guard=guard, message="so it is", remedy="mend it")
        found = merging(change, world=runs_as(declared(FILES), stops=(stop,)))
        assert (found.verdict, found.stops) == (verdict, (stop,))


def test_a_broken_file_freezes_and_fails() -> None:
    found = merging({"checkout.yml": CHECKOUT.replace("branch:", "brnach:")})
    (one,) = found.environments
    assert (one.kind, found.verdict) == (Kind.FROZEN, Verdict.FAILED)
    assert one.before == one.after
    assert steps(one) == []
    assert [(str(finding.origin), is_new) for finding, is_new in found.findings] == [
        ("environments.d/checkout.yml:3", True)
    ]


def test_a_broken_parent_freezes_its_children_too() -> None:
    found = merging({"production.yml": PRODUCTION.replace("project:", "proj:")})
    assert {one.kind for one in found.environments} == {Kind.FROZEN}
    assert len(found.environments) == len(FILES)


def test_findings_that_were_there_before_are_told_and_not_blamed() -> None:
    files = {**FILES, "search.yml": CHECKOUT.replace("branch:", "brnach:")}
    found = merging({"search.yml": "# a line more\n" + files["search.yml"]}, files=files)
    assert [is_new for _, is_new in found.findings] == [False]
    assert found.verdict is Verdict.NOTHING


def test_a_mended_file_is_not_compared_with_what_nobody_could_read() -> None:
    files = {**FILES, "search.yml": CHECKOUT.replace("branch:", "brnach:")}
    found = merging({"search.yml": CHECKOUT}, files=files)
    (one,) = found.environments
    assert (one.kind, one.fields) == (Kind.MENDED, ())


def test_a_new_preference_replaces_nobody_who_is_still_allowed() -> None:
    found = merging({"production.yml": PRODUCTION.replace("[m7i.large, m6i.large]", "[m6i.large, m7i.large]")})
    one = of(found, "checkout")
    assert fields(one)["roles.web.instance_type"][3] == "in-place"
    assert "replace_node" not in {name for name, *_ in steps(one)}


def test_a_type_that_is_allowed_no_more_replaces_those_that_have_it() -> None:
    found = merging({"production.yml": PRODUCTION.replace("[m7i.large, m6i.large]", "[m6i.large]")})
    assert fields(of(found, "checkout"))["roles.web.instance_type"][3] == "replace"


def test_a_larger_disk_replaces_nodes() -> None:
    found = merging({"production.yml": PRODUCTION.replace("defaults:\n", "defaults:\n  root_volume: {size: 40}\n")})
    assert fields(of(found, "checkout"))["roles.web.root_volume.size"] == (
        None,
        40,
        "environments.d/production.yml:6",
        "replace",
    )


def test_a_renamed_role_is_created_and_destroyed() -> None:
    found = merging({"production.yml": UNPROTECTED["production.yml"].replace("  worker:", "  job:")}, files=UNPROTECTED)
    one = of(found, "production")
    assert fields(one)["roles.job.count"][3] == "create"
    assert fields(one)["roles.worker.count"][3] == "destroy"
    assert ("terminate_node", "worker", 2, "destroy") in steps(one)


def test_an_attribute_changes_in_place() -> None:
    found = merging(
        {"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 1, attributes: {unicorn: {workers: 2}}}")}
    )
    (one,) = found.environments
    assert fields(one) == {"roles.web.attributes.unicorn.workers": (8, 2, "environments.d/checkout.yml:5", "in-place")}
    assert steps(one) == [("ensure_chef_role", "web", 1, "in-place")]


def test_a_foreign_chef_environment_that_a_change_names_is_taken_to_exist() -> None:
    found = merging({"checkout.yml": CHECKOUT + "chef_environment: shared\n"})
    (one,) = found.environments
    assert one.stalls == ()
    assert fields(one)["chef_environment"][:2] == (None, "shared")
    assert ("ensure_chef_node", "web", 1, "in-place") in steps(one)


def test_a_foreign_chef_environment_in_the_way_needs_somebody() -> None:
    base = declared(FILES)
    world = runs_as(base)
    name = EnvironmentName("new")
    there = world.observed.environments[EnvironmentName("checkout")]
    assert there.chef_environment is not None
    foreign = replace(there.chef_environment, name=ChefName("new"), default_attributes={})
    in_the_way = replace(there, name=name, nodes=(), chef_roles={}, chef_environment=foreign)
    observed = replace(world.observed, environments={**world.observed.environments, name: in_the_way})
    found = merging({"new.yml": CHECKOUT}, world=replace(world, observed=observed))
    assert found.verdict is Verdict.FAILED
    assert [stall.reason for stall in of(found, "new").stalls] == ["ForeignChefEnvironment"]


def test_an_unknown_price_is_said_and_not_guessed() -> None:
    found = merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 1, instance_type: [q9.huge]}")})
    (one,) = found.environments
    assert one.after.usd_per_month is None
    assert one.after.unknown == ("q9.huge in us-east-1",)
    assert found.after.unknown == ("q9.huge in us-east-1",)


def test_going_beyond_the_policy_is_a_new_finding() -> None:
    policy = Policy(nodes_per_environment=6)
    found = merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 9}")}, policy=policy)
    assert found.verdict is Verdict.FAILED
    assert ["policy" in finding.message for finding, is_new in found.findings if is_new] == [True]


def test_one_environment_is_told_of_without_the_faults_of_others() -> None:
    found = merging({"checkout.yml": CHECKOUT.replace("branch:", "brnach:"), "search.yml": None})
    assert found.only(EnvironmentName("search")).findings == ()
    assert found.only(EnvironmentName("search")).verdict is Verdict.CHANGES
    assert found.only(EnvironmentName("checkout")).verdict is Verdict.FAILED
    broken = merging({"production.yml": PRODUCTION.replace("project:", "proj:")})
    assert broken.only(EnvironmentName("checkout")).verdict is Verdict.FAILED


def test_of_nodes_that_drift_those_that_are_too_many_go_for_good() -> None:
    changed = UNPROTECTED["production.yml"].replace("def0", "def1").replace("count: 4", "count: 2")
    found = merging({"production.yml": changed}, files=UNPROTECTED)
    assert steps(of(found, "production"))[:3] == [
        ("terminate_node", "web", 2, "destroy"),
        ("replace_node", "web", 2, "replace"),
        ("replace_node", "worker", 2, "replace"),
    ]
    assert fields(of(found, "production"))["roles.web.count"][3] == "destroy"


def test_a_node_that_boots_is_replaced_like_the_others() -> None:
    base = declared(FILES)
    world = runs_as(base)
    checkout = EnvironmentName("checkout")
    there = world.observed.environments[checkout]
    booting = tuple(replace(node, phase=Phase.RUNNING, was_ready=False) for node in there.nodes)
    observed = replace(
        world.observed, environments={**world.observed.environments, checkout: replace(there, nodes=booting)}
    )
    found = merging({"production.yml": PRODUCTION.replace("def0", "def1")}, world=replace(world, observed=observed))
    assert steps(of(found, "checkout"))[:2] == [
        ("replace_node", "web", 1, "replace"),
        ("replace_node", "worker", 1, "replace"),
    ]


def test_both_revisions_are_named() -> None:
    found = merging({"checkout.yml": None})
    assert (found.base, found.head, found.at) == (BASE, HEAD, BEGAN)
