"""Why an environment is to go, and for how long a commit can still keep it."""

from dataclasses import replace
from datetime import datetime

from reconciler.model.memory import Ending, EndingCause
from reconciler.model.names import SPEC_SUFFIXES, EnvironmentName
from reconciler.model.plan import Blocked, Guard
from reconciler.model.rules import Rules
from reconciler.plan.context import Context


def ending_of(name: EnvironmentName, context: Context) -> Ending:
    """The one that is remembered, or of an environment whose file is gone the one that begins now."""
    known = context.memory.environments.get(name)
    if known is not None and known.ending is not None:
        # A clock that ran ahead wrote it: the grace period would hold it up until that day.
        return known.ending if known.ending.at <= context.now else replace(known.ending, at=context.now)
    paths = [f"{name}{suffix}" for suffix in SPEC_SUFFIXES if f"{name}{suffix}" in context.touched]
    if not paths:  # the history could not be read
        file, revision, author = f"{name}{SPEC_SUFFIXES[0]}", context.revision, ""
    else:
        file = max(paths, key=lambda path: context.touched[path].at)
        revision, author = context.touched[file].revision, context.touched[file].author
    return Ending(
        cause=EndingCause.REMOVED, at=context.now, revision=revision, author=author, file=f"{context.folder}/{file}"
    )


def grace_ends_at(ending: Ending, rules: Rules) -> datetime:
    return ending.at + rules.teardown_grace


def grace(name: EnvironmentName, ending: Ending, context: Context) -> Blocked:
    """What holds the removal of an environment until its grace period is over."""
    until = grace_ends_at(ending, context.rules)
    moment = f"{until:%H:%M:%S}" if until.date() == context.now.date() else f"{until:%Y-%m-%d %H:%M:%S}"
    return Blocked(
        guard=Guard.GRACE,
        message=f"{name} is torn down at {moment} UTC: {ending.why} ({ending.revision[:8]})",
        remedy=_way_back(ending),
        actor=ending.author,
        until=until,
    )


def _way_back(ending: Ending) -> str:
    if ending.cause is EndingCause.EXPIRED:
        return f"to keep it, commit a longer ttl or a later expires in {ending.file}"
    if not ending.author:
        return f"to keep it, restore {ending.file} and push before then"
    return f"to keep it, git revert {ending.revision[:8]} and push before then"
