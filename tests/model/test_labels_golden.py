"""Words that dashboards, alerts and scripts are written against: the closed label sets of metrics and documents."""

from enum import StrEnum

import pytest

from reconciler.model.actions import ActionName
from reconciler.model.conditions import ConditionType
from reconciler.model.event_kinds import EventKind
from reconciler.model.memory import Cause, EndingCause, IntentState
from reconciler.model.observed import Phase
from reconciler.model.passes import Result
from reconciler.model.plan import Guard


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            ActionName,
            """ensure_chef_environment ensure_chef_role ensure_chef_node launch_nodes replay_launch replace_node tag_node
            stop_node start_node terminate_node delete_chef_node delete_chef_client delete_chef_role delete_chef_environment""",
        ),
        (Phase, "pending running registered ready failed stopped terminating lost"),
        (Result, "done unchanged refused unknown skipped"),
        (
            ConditionType,
            "Ready Reconciling Stalled Held Suspended Ending Expired Quarantined Stale Lost NotOwner Degraded",
        ),
        (
            Guard,
            "observe_mode not_owner take_over suspended history empty_revision protected grace policy prune_nodes prune_environments",
        ),
        (
            EventKind,
            """RevisionApplied NodesLaunched LaunchGivenUp NodeReady NodeFailed NodeReplacing NodeTagged
            NodeStopped NodeStarted NodeTerminated NodeGone ChefEnvironmentCreated ChefEnvironmentChanged
            ChefEnvironmentDeleted ChefRoleCreated ChefRoleChanged ChefRoleDeleted ChefNodeCorrected
            ChefNodeDeleted ChefClientDeleted BreakerOpened BreakerClosed Expiring EndingBegan EndingCancelled
            TeardownBegan TornDown Ready Stalled Unstalled Held HoldLifted SuspendedByFile SuspensionEnded
            NodesStale NodesHeard NodesLost NodesFound NotOwner Owner Degraded Recovered NodeRegistered
            RegistrationRefused IdentityReused FirstRunSucceeded FirstRunFailed Approved Suspended Resumed
            TookOver""",
        ),
        (Cause, "scale_down teardown replaced never_ready drifted failed surplus sweep"),
        (EndingCause, "removed expired"),
        (IntentState, "open launched refused closed"),
    ],
)
def test_the_words(kind: type[StrEnum], words: str) -> None:
    assert [str(one) for one in kind] == words.split()
