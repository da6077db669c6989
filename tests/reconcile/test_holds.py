"""What is held, why, and the way out of each hold, through whole passes."""

from dataclasses import replace
from datetime import timedelta

from reconciler.model import tags
from reconciler.model.facts import Approved, Resumed, Suspended, TookOver
from reconciler.model.memory import Approval, Suspension
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.passes import Pass
from reconciler.model.plan import Blocked, Guard
from reconciler.settings import Mode
from tests.reconcile.world import CHECKOUT, EVERYTHING, PRODUCTION, World


def blocked(done: Pass, guard: Guard) -> list[Blocked]:
    assert done.plan is not None
    found = [one for one in done.plan.blocked if one.guard is guard]
    return found + [one for plan in done.plan.environments for one in plan.blocked if one.guard is guard]


def approve(world: World, *holds: Blocked) -> None:
    """What an operator's yes to one digest records; several environments may share it."""
    now = world.clock.now()
    (digest,) = {hold.digest for hold in holds}
    approval = Approval(
        digest=digest,
        removals=frozenset(gone for hold in holds for gone in hold.removals),
        actor="ops",
        at=now,
        expires_at=now + timedelta(hours=24),
    )
    world.journal.record(now, Approved(approval=approval))


# --- claim ---


def test_the_first_pass_claims_an_empty_fleet(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.reconcile()
    claim = world.chef.claim()
    assert claim is not None
    assert claim.installation == world.journal.recall(world.clock.now()).installation
    assert claim.applied == world.repository.tip


def test_a_second_installation_writes_nothing_until_it_takes_over(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.lose_journal()
    world.forget_calls()
    world.commit(checkout=CHECKOUT)
    done = world.reconcile()
    assert blocked(done, Guard.NOT_OWNER)
    assert world.reconciler.may_write() is not None
    assert (world.cloud.writes, world.chef.writes) == (0, 0)


def test_after_a_take_over_nothing_launches_for_five_minutes_and_removals_need_approval(world: World) -> None:
    world.commit(production=PRODUCTION, staging=PRODUCTION)
    world.settle()
    world.lose_journal()
    world.commit(checkout=CHECKOUT, staging=None)
    world.reconcile()
    world.journal.record(world.clock.now(), TookOver(actor="ops"))
    installation = world.journal.recall(world.clock.now()).installation
    world.claim_elsewhere(installation=installation)
    done = world.reconcile()
    assert not blocked(done, Guard.NOT_OWNER)
    assert blocked(done, Guard.TAKE_OVER)
    assert "checkout/web" not in world.counts()
    world.clock.advance(301)
    done = world.reconcile()
    assert world.counts()["checkout/web"] == 1
    assert world.counts()["staging/web"] == 4
    # Nobody remembers staging: its nodes are swept, after two sightings and a while, and only if somebody agrees.
    world.clock.advance(601)
    world.boot()
    done = world.reconcile()
    assert world.counts()["staging/web"] == 4
    for hold in blocked(done, Guard.TAKE_OVER) + blocked(done, Guard.PRUNE_NODES):
        approve(world, hold)
    world.reconcile()
    assert "staging/web" not in world.counts()


def test_a_fleet_without_a_claim_is_not_ours_for_the_taking(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.chef.forget_claim()
    world.commit(checkout=CHECKOUT)
    done = world.reconcile()
    assert blocked(done, Guard.NOT_OWNER)
    assert "checkout/web" not in world.counts()


def test_the_claim_of_another_repository_is_not_ours(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.change_settings(repository=replace(world.settings.repository, url="/srv/other.git"))
    done = world.reconcile()
    (hold,) = {one.message for one in blocked(done, Guard.NOT_OWNER)}
    assert "repository /srv/envs.git is not /srv/other.git" in hold


# --- history ---


def test_rewritten_history_leaves_the_applied_revision_in_force_until_it_is_approved(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    tip = world.repository.rewrite({"production.yml": PRODUCTION})
    done = world.reconcile()
    (hold,) = blocked(done, Guard.HISTORY)
    assert hold.digest == tip
    world.clock.advance(60)
    world.cloud.terminate_by_hand(world.alive("checkout", "web")[0].instance_id)
    for _ in range(4):  # healing goes on, by the revision in force
        world.reconcile()
        world.clock.advance(10)
        world.boot()
    assert world.counts()["checkout/web"] == 1
    now = world.clock.now()
    world.journal.record(
        now,
        Approved(
            approval=Approval(
                digest=tip, removals=frozenset(), actor="ops", at=now, expires_at=now + timedelta(hours=24)
            )
        ),
    )
    world.settle()
    assert "checkout/web" not in world.counts()


def test_rewritten_history_of_which_nothing_is_left_can_still_be_approved(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    tip = world.repository.rewrite({"production.yml": PRODUCTION})
    world.repository.lose_mirror()
    world.restart()
    done = world.reconcile()
    (hold,) = blocked(done, Guard.HISTORY)
    assert (hold.digest, hold.remedy) == (tip, f"hivequeen approve {tip}")
    assert done.outcomes == ()
    approve(world, hold)
    world.settle()
    assert world.counts() == {"production/web": 4, "production/worker": 2}


def test_a_tree_that_cannot_be_read_whole_tears_nothing_down(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=CHECKOUT)
    world.settle()
    world.commit(checkout=None)
    tip = world.repository.tip
    assert tip is not None
    world.repository.lose(tip)
    for _ in range(3):
        done = world.reconcile()
        world.clock.advance(300)
    assert done.failures[0].stage == "source"
    assert world.counts()["checkout/web"] == 1


# --- protection and limits ---


def test_deleting_a_protected_file_tears_nothing_down_whatever_is_approved(world: World) -> None:
    world.commit(production=PRODUCTION + "protected: true\n", checkout=PRODUCTION)
    world.settle()
    assert all(one.tags[tags.PROTECTED] == "true" for one in world.alive("production"))
    world.commit(production=None)
    for _ in range(3):
        done = world.reconcile()
        world.clock.advance(400)
    (hold,) = blocked(done, Guard.PROTECTED)
    assert "protected: false" in hold.remedy
    approve(world, hold)
    world.reconcile()
    assert world.counts()["production/web"] == 4


def test_protection_that_was_lifted_by_a_commit_lets_the_next_commit_delete(world: World) -> None:
    world.commit(production=PRODUCTION + "protected: true\n", checkout=PRODUCTION)
    world.settle()
    world.commit(production=PRODUCTION)
    world.settle()
    world.commit(production=None)
    world.settle()
    assert world.counts() == {"checkout/web": 4, "checkout/worker": 2}


def test_a_protected_environment_is_not_halved_without_approval(world: World) -> None:
    world.commit(production=PRODUCTION + "protected: true\n")
    world.settle()
    world.commit(production=PRODUCTION.replace("count: 4", "count: 0") + "protected: true\n")
    done = world.reconcile()
    (hold,) = blocked(done, Guard.PROTECTED)
    assert world.counts()["production/web"] == 4
    approve(world, hold)
    world.settle()
    assert world.counts() == {"production/worker": 2}


def test_a_revision_that_declares_nothing_is_held_as_a_whole(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=PRODUCTION)
    world.settle()
    world.repository.push({"README.md": "nothing left"})
    done = world.reconcile()
    holds = blocked(done, Guard.EMPTY_REVISION)
    assert len({one.digest for one in holds}) == 1
    assert len(world.cloud.alive()) == 12
    approve(world, *holds)
    world.settle()
    assert world.counts() == {}


def test_more_teardowns_in_an_hour_than_the_limit_are_held_together(world: World) -> None:
    small = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 1")
    names = [f"feature{number}" for number in range(8)]
    world.repository.push({"production.yml": small} | {f"{name}.yml": CHECKOUT for name in names})
    world.settle()
    world.repository.edit({f"{name}.yml": None for name in names[:3]})
    world.settle()
    assert len(world.cloud.alive()) == 12
    world.commit(feature3=None)
    done = world.reconcile()
    assert blocked(done, Guard.PRUNE_ENVIRONMENTS)
    assert len(world.cloud.alive()) == 12
    world.clock.advance(3601)
    world.settle()
    assert len(world.cloud.alive()) == 10


def test_nodes_that_fail_together_are_not_all_replaced_without_a_person(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.cloud.stop_by_hand(*(one.instance_id for one in world.alive("production", "web")[:3]))
    world.reconcile()
    world.clock.advance(601)
    done = world.reconcile()
    (hold,) = blocked(done, Guard.PRUNE_NODES)
    assert len(hold.actions) == 3
    assert len(world.alive("production", "web")) == 4  # the stopped ones are still there, and keep their places
    approve(world, hold)
    world.settle()
    assert len(world.alive("production", "web")) == 4


# --- suspend, observe ---


def test_a_suspended_environment_is_left_alone_until_it_is_resumed(world: World) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    now = world.clock.now()
    suspension = Suspension(
        environment=EnvironmentName("production"), reason="maintenance", actor="ops", since=now, until=None
    )
    world.journal.record(now, Suspended(suspension=suspension))
    world.commit(production=PRODUCTION.replace("count: 4", "count: 6"))
    world.forget_calls()
    world.restart()
    done = world.reconcile()
    assert blocked(done, Guard.SUSPENDED)[0].remedy == "hivequeen resume production"
    assert world.cloud.writes == 0
    world.journal.record(now, Resumed(environment=EnvironmentName("production")))
    world.settle()
    assert world.counts()["production/web"] == 6


def test_mode_observe_writes_nothing_outside(world: World) -> None:
    world.change_settings(mode=Mode.OBSERVE)
    world.commit(production=PRODUCTION)
    for _ in range(3):
        done = world.reconcile()
        world.clock.advance(60)
    assert blocked(done, Guard.OBSERVE_MODE)
    assert (world.cloud.writes, world.chef.writes) == (0, 0)
    assert world.chef.claim() is None
    assert world.repository.applied is None


def test_a_preview_writes_nothing_anywhere(world: World) -> None:
    world.commit(production=PRODUCTION)
    before = world.journal.recall(world.clock.now())
    done = world.reconciler.preview(EVERYTHING)
    assert done.plan is not None
    assert [action.name.value for action in done.plan.environments[0].actions] == [
        "ensure_chef_environment",
        "ensure_chef_role",
        "ensure_chef_role",
        "launch_nodes",
        "launch_nodes",
    ]
    assert (world.cloud.writes, world.chef.writes) == (0, 0)
    assert world.journal.recall(world.clock.now()) == before
    assert RevisionId(done.plan.revision) == world.repository.tip


def test_an_approved_teardown_begins_at_once_though_only_its_name_wakes_the_loop(world: World) -> None:
    world.commit(production=PRODUCTION, checkout=PRODUCTION)
    world.settle()
    world.repository.push({"README.md": "nothing left"})
    holds = blocked(world.reconcile(), Guard.EMPTY_REVISION)
    approve(world, *holds)
    world.reconcile("checkout", "production")
    assert world.counts() == {}
