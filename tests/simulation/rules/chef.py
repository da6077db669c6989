"""What goes from Chef, and when."""

from collections.abc import Iterator
from datetime import timedelta

from reconciler.model.names import split_chef_role_name, split_node_name
from tests.simulation.deeds import ChefRemoval, ChefWrite, Deed
from tests.simulation.scene import Scene
from tests.simulation.specs import Declared, Frozen


def after_termination(deed: Deed, scene: Scene) -> Iterator[str]:
    if not isinstance(deed, ChefRemoval) or deed.kind not in ("node", "client") or not deed.existed:
        return
    parts = split_node_name(deed.name)
    machine = scene.ledger.machines.get(parts[2]) if parts is not None else None
    if machine is None:
        yield f"Chef {deed.kind} {deed.name} belongs to no instance of ours"
    elif machine.ended_at is None and machine.instance_id not in scene.ledger.hidden_since:
        yield f"Chef {deed.kind} {deed.name} goes, and its instance lives"
    elif machine.ended_at is not None and scene.now - machine.ended_at < timedelta(seconds=scene.cloud.shutting_down_s):
        yield f"Chef {deed.kind} {deed.name} goes, and its instance is still shutting down"


def generated_go_last(deed: Deed, scene: Scene) -> Iterator[str]:
    if not isinstance(deed, ChefRemoval) or deed.kind not in ("role", "environment") or not deed.existed:
        return
    stored = (scene.chef.stored_roles if deed.kind == "role" else scene.chef.stored_environments)[deed.name]
    owner = scene.owner_of(stored.default_attributes)
    parts = split_chef_role_name(deed.name)
    named = (parts[0] if parts is not None else "") if deed.kind == "role" else deed.name
    if owner != named:
        yield f"Chef {deed.kind} {deed.name} goes, and does not bear our mark"
    wanted = scene.living.get(named)
    role = parts[1] if deed.kind == "role" and parts is not None else None
    if isinstance(wanted, Frozen) or (isinstance(wanted, Declared) and (role is None or role in wanted.roles)):
        yield f"Chef {deed.kind} {deed.name} goes, and is declared"
    living = [
        one.instance_id
        for one in scene.ledger.machines.values()
        if one.ended_at is None
        and one.is_ours
        and not one.was_retagged
        and one.instance_id not in scene.ledger.hidden_since
        and one.environment == named
        and role in (None, one.role)
    ]
    if living:
        yield f"Chef {deed.kind} {deed.name} goes, and {living} live"


def orphans_have_age(deed: Deed, scene: Scene) -> Iterator[str]:
    """What appeared in Chef with our mark and without an environment of ours is not removed at first sight."""
    if not isinstance(deed, ChefRemoval) or not deed.existed:
        return
    since = scene.ledger.made_by_hand.get((deed.kind, deed.name))
    is_known = any(name in scene.journal.memory.environments for name in scene.environments_of(deed))
    if since is not None and not is_known and scene.now - since < scene.rules.orphan_age:
        yield f"Chef {deed.kind} {deed.name} goes {(scene.now - since).total_seconds():.0f} s after somebody made it"


def foreign_is_kept(deed: Deed, scene: Scene) -> Iterator[str]:
    if not isinstance(deed, ChefWrite) or deed.is_new:
        return
    is_role = deed.wanted.name in scene.chef.stored_roles and hasattr(deed.wanted, "run_list")
    stored = (scene.chef.stored_roles if is_role else scene.chef.stored_environments)[deed.wanted.name]
    if scene.owner_of(stored.default_attributes) != scene.owner_of(deed.wanted.default_attributes):
        yield f"{deed.wanted.name} is overwritten, and was not ours"
