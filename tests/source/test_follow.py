"""Which revision is desired: laws over random histories, then the cases that people meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.memory import Approval
from reconciler.model.names import RevisionId
from reconciler.model.plan import Guard
from reconciler.source.follow import Followed, choose

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def revision(number: int) -> RevisionId:
    return RevisionId(f"{number:040x}")


def approve(digest: str) -> Approval:
    return Approval(digest=digest, removals=frozenset(), actor="jessica", at=NOW, expires_at=NOW + timedelta(hours=24))


@dataclass(frozen=True)
class History:
    """Commits, each with its parents, of which a mirror holds some; what it holds, it holds with all its ancestors."""

    parents: Mapping[RevisionId, tuple[RevisionId, ...]]
    mirrored: frozenset[RevisionId]

    def ancestors(self, of: RevisionId) -> frozenset[RevisionId]:
        found: set[RevisionId] = set()
        left = [of]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left.extend(self.parents[one])
        return frozenset(found)

    def descends(self, one: RevisionId, ancestor: RevisionId) -> bool:
        assert one in self.mirrored or ancestor not in self.mirrored, "asked of a revision that is not here"
        return ancestor in self.mirrored and ancestor in self.ancestors(one)


@dataclass(frozen=True)
class Case:
    history: History
    tip: RevisionId
    applied: RevisionId | None
    claimed: RevisionId | None
    approvals: tuple[Approval, ...]

    @property
    def witnesses(self) -> frozenset[RevisionId]:
        return frozenset(known for known in (self.applied, self.claimed) if known is not None)

    def choose(self) -> Followed:
        return choose(
            tip=self.tip,
            applied=self.applied,
            claimed=self.claimed,
            descends=self.history.descends,
            approvals=self.approvals,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    size = draw(st.integers(1, 12))
    parents = {
        revision(number): tuple(
            revision(parent)
            for parent in draw(st.sets(st.integers(0, number - 1), max_size=2) if number else st.just(()))
        )
        for number in range(size)
    }
    commits = st.sampled_from(sorted(parents))
    whole = History(parents=parents, mirrored=frozenset(parents))
    tip = draw(commits)
    kept = draw(st.sets(commits, max_size=3)) if draw(st.booleans()) else set(parents)
    mirrored = frozenset().union(*(whole.ancestors(one) for one in {tip, *kept}))
    return Case(
        history=History(parents=parents, mirrored=mirrored),
        tip=tip,
        applied=draw(st.none() | commits),
        claimed=draw(st.none() | commits),
        approvals=tuple(approve(digest) for digest in draw(st.lists(commits, max_size=2))),
    )


@given(cases())
def test_the_tip_is_desired_only_if_it_continues_all_that_was_applied_or_was_approved(case: Case) -> None:
    followed = case.choose()
    continues = all(
        witness in case.history.mirrored and witness in case.history.ancestors(case.tip) for witness in case.witnesses
    )
    approved = any(approval.digest == case.tip for approval in case.approvals)
    assert (followed.hold is None) == (continues or approved)
    if followed.hold is None:
        assert followed.revision == case.tip


@given(cases())
def test_while_held_the_last_applied_revision_stays_desired_and_nothing_older(case: Case) -> None:
    followed = case.choose()
    if followed.hold is None:
        return
    assert followed.hold.guard is Guard.HISTORY
    assert followed.hold.digest == case.tip
    assert followed.hold.remedy == f"hivequeen approve {case.tip}"
    if followed.revision is None:
        one_is_lost = not case.witnesses <= case.history.mirrored
        they_diverge = all(case.witnesses - case.history.ancestors(one) for one in case.witnesses)
        assert one_is_lost or they_diverge
    else:
        assert followed.revision in case.witnesses
        assert case.witnesses <= case.history.ancestors(followed.revision)


@given(cases())
def test_new_means_desired_and_not_yet_applied(case: Case) -> None:
    followed = case.choose()
    assert followed.is_new == (followed.revision is not None and followed.revision != case.applied)


@given(cases())
def test_once_applied_and_claimed_the_same_tip_is_neither_new_nor_held(case: Case) -> None:
    settled = Case(history=case.history, tip=case.tip, applied=case.tip, claimed=case.tip, approvals=())
    assert settled.choose() == Followed(revision=case.tip, hold=None, is_new=False)


@given(cases())
def test_approving_the_tip_always_ends_the_hold_and_approving_something_else_never_does(case: Case) -> None:
    others = tuple(approval for approval in case.approvals if approval.digest != case.tip)
    without = Case(case.history, case.tip, case.applied, case.claimed, ()).choose()
    assert Case(case.history, case.tip, case.applied, case.claimed, others).choose() == without
    lifted = Case(case.history, case.tip, case.applied, case.claimed, (*others, approve(case.tip))).choose()
    assert (lifted.revision, lifted.hold) == (case.tip, None)


@given(st.data())
def test_following_a_branch_that_is_pushed_about_never_moves_back_without_an_approval(data: st.DataObject) -> None:
    """Journal and claim kept as the daemon does: the journal first, the claim after it unless a crash comes between."""
    history = data.draw(cases()).history
    history = History(parents=history.parents, mirrored=frozenset(history.parents))
    applied: RevisionId | None = None
    claimed: RevisionId | None = None
    for tip in data.draw(st.lists(st.sampled_from(sorted(history.parents)), max_size=8)):
        followed = Case(history, tip, applied, claimed, ()).choose()
        assert followed.revision is not None
        for before in (applied, claimed):
            assert before is None or before in history.ancestors(followed.revision)
        applied = followed.revision
        if data.draw(st.booleans()):
            claimed = applied


A, B, C, REWRITTEN = (revision(number) for number in range(10, 14))
LINE = History(
    parents={A: (), B: (A,), C: (B,), REWRITTEN: (A,)},
    mirrored=frozenset({A, B, C, REWRITTEN}),
)


def follow(
    tip: RevisionId, applied: RevisionId | None, claimed: RevisionId | None, history: History = LINE
) -> Followed:
    return Case(history, tip, applied, claimed, ()).choose()


def test_the_first_start_ever_accepts_the_tip() -> None:
    assert follow(C, None, None) == Followed(revision=C, hold=None, is_new=True)


def test_a_restored_older_journal_does_not_move_history_back() -> None:
    held = follow(tip=B, applied=A, claimed=C)
    assert held.hold is not None
    assert (held.revision, held.is_new) == (C, True)


def test_a_crash_before_the_claim_was_updated_holds_nothing() -> None:
    assert follow(tip=C, applied=B, claimed=A) == Followed(revision=C, hold=None, is_new=True)


def test_a_force_push_to_an_older_commit_is_a_hold() -> None:
    held = follow(tip=A, applied=C, claimed=C)
    assert held.hold is not None
    assert (held.revision, held.is_new) == (C, False)


def test_rewritten_history_whose_applied_revision_is_collected_holds_and_desires_nothing() -> None:
    without = History(parents=LINE.parents, mirrored=frozenset({A, REWRITTEN}))
    held = follow(tip=REWRITTEN, applied=C, claimed=C, history=without)
    assert held.hold is not None
    assert held.revision is None
    assert not held.is_new
    assert "not in the repository any more" in held.hold.message


def test_two_lines_of_history_leave_no_saying_which_was_applied_last() -> None:
    held = follow(tip=REWRITTEN, applied=REWRITTEN, claimed=C)
    assert held.hold is not None
    assert held.revision is None
