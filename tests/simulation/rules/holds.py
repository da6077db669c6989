"""What is somebody's word against change: history, ownership, suspension, protection, grace."""

from collections.abc import Iterator
from datetime import timedelta

from reconciler.model.facts import EnvironmentEnding, RevisionApplied
from reconciler.model.memory import EndingCause, suspension_of
from reconciler.model.names import EnvironmentName
from tests.simulation.deeds import ChefRemoval, ClientMade, Deed, FileRemoved, Launch, Recorded, Termination
from tests.simulation.ledger import Machine
from tests.simulation.scene import Scene
from tests.simulation.specs import Declared, Frozen


def history_moves_forward(deed: Deed, scene: Scene) -> Iterator[str]:
    """From what the journal and the claim tell was applied."""
    for fact in deed.facts if isinstance(deed, Recorded) else ():
        if not isinstance(fact, RevisionApplied):
            continue
        claim = scene.chef._claim
        witnesses = {scene.ledger.told.get(scene.journal.memory.installation), claim.applied if claim else None}
        for applied in sorted(one for one in witnesses if one is not None):
            is_approved = fact.revision in scene.ledger.approved_revisions
            if not is_approved and not scene.ledger.descends(fact.revision, applied):
                yield f"{fact.revision[:8]} is applied, does not descend from {applied[:8]}, and nobody approved it"


def owner_writes(deed: Deed, scene: Scene) -> Iterator[str]:
    if isinstance(deed, Recorded | ClientMade | FileRemoved) or (isinstance(deed, Launch) and not deed.made):
        return  # a registration goes by what the last pass saw, and reads no claim of its own
    claim = scene.chef._claim
    own = scene.journal.memory.installation
    if claim is None or claim.installation != own:
        yield f"{own} does {type(deed).__name__} for {scene.environments_of(deed)}, and the claim is of {claim and claim.installation}"


def left_alone(deed: Deed, scene: Scene) -> Iterator[str]:
    """Nothing of a suspended environment, or of one whose file cannot be read, is made, changed or removed."""
    suspensions = scene.journal.recall(scene.now).suspensions
    for name in scene.environments_of(deed):
        wanted = scene.ledger.desired.get(name)
        if isinstance(wanted, Frozen):
            yield f"{type(deed).__name__} for {name}, whose file cannot be trusted"
        elif isinstance(wanted, Declared) and wanted.suspend:
            yield f"{type(deed).__name__} for {name}, which its file suspends"
        suspension = suspension_of(EnvironmentName(name), suspensions, scene.now)
        if suspension is not None:
            yield f"{type(deed).__name__} for {name}, {suspension}"


def protected_stays(deed: Deed, scene: Scene) -> Iterator[str]:
    """Removing the file of a protected environment removes nothing of it."""
    if not isinstance(deed, Termination | ChefRemoval):
        return
    for name in scene.environments_of(deed) - set(scene.living):
        if scene.ledger.protected.get(name):
            yield f"{type(deed).__name__} for {name}, which was protected when it was last declared"


def grace_is_waited_for(deed: Deed, scene: Scene) -> Iterator[str]:
    if isinstance(deed, Recorded | ClientMade):
        return  # a node that still boots may register: should the file come back, nothing was lost
    for name in scene.environments_of(deed):
        if name in scene.ledger.under_way:
            continue
        since = scene.ledger.ends_since(name)
        if EnvironmentName(name) not in scene.journal.memory.environments:
            continue  # a journal that was lost remembers no ending; the caution after a take-over stands in for it
        if since is not None and scene.now - since < scene.rules.teardown_grace - timedelta(seconds=1):
            age = (scene.now - since).total_seconds()
            yield f"{type(deed).__name__} for {name}, {age:.0f} s after its file was gone"


def nothing_ends_early(deed: Deed, scene: Scene) -> Iterator[str]:
    """By what the revision says that the note goes by, applied before or at once."""
    facts = deed.facts if isinstance(deed, Recorded) else ()
    applied = next((fact.revision for fact in facts if isinstance(fact, RevisionApplied)), scene.ledger.applied)
    for fact in facts:
        if isinstance(fact, EnvironmentEnding) and fact.cause is EndingCause.EXPIRED and applied is not None:
            expiry = scene.ledger.expiries(applied).get(fact.environment)
            if expiry is None or expiry > scene.now:
                yield f"{fact.environment} is said to be over, and its time is not ({expiry})"


def files_are_kept(deed: Deed, scene: Scene) -> Iterator[str]:
    """A file leaves the repository when its time is over, nothing of its environment is left, and nobody extends it."""
    if not isinstance(deed, FileRemoved):
        return
    tip = scene.ledger.tip
    files = scene.ledger.revisions[tip] if tip is not None else {}
    stem = next((stem for stem, file in files.items() if file.path(stem) == deed.path), "")
    expiry = scene.ledger.expiries(tip).get(stem) if tip is not None else None
    if expiry is None or expiry > scene.now:
        yield f"{deed.path} is removed, and its time is not over ({expiry})"
    there = (one for one in scene.ledger.machines.values() if one.environment == stem and _lives(one))
    living = [one.instance_id for one in there if not scene.is_proved_gone(one)]
    if living:
        yield f"{deed.path} is removed, and {living} live"
    heirs = [one for one, file in files.items() if file.parent == stem and file.damage is None and not file.is_parked]
    if heirs:
        yield f"{deed.path} is removed, and {heirs} extend it"


def _lives(machine: Machine) -> bool:
    return machine.is_ours and machine.ended_at is None and not machine.was_retagged
