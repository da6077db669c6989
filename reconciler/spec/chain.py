"""`extends`, followed from file to file: what each file is made of, or why that cannot be said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.document import suggest
from reconciler.model.findings import Finding
from reconciler.spec.check import CheckedFile
from reconciler.spec.folder import Folder

EXTENDS_MAX: Final = 5  # from an environment to the last file that it stands on


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A file and all that it extends, nearest first. Where there are findings it ends with the file itself."""

    stems: tuple[str, ...]
    findings: tuple[Finding, ...] = ()  # why it cannot be followed: its own faults, then those of files above


def follow_all(checked: Mapping[str, CheckedFile], folder: Folder) -> dict[str, Chain]:
    """The chain of every readable file, by its stem. Each fault is told once, at the line that leads into it."""
    chains: dict[str, Chain] = {}
    for start in checked:
        way: dict[str, None] = {}  # an ordered set
        stem: str | None = start
        while stem is not None and stem in checked and stem not in chains and stem not in way:
            way[stem] = None
            stem = checked[stem].extends
        if stem in way:
            stems = list(way)
            chains |= _cycle(stems[stems.index(stem) :], checked)
        for each in reversed(way):
            if each not in chains:
                chains[each] = _link(each, checked, folder, chains)
    return chains


def _cycle(stems: list[str], checked: Mapping[str, CheckedFile]) -> dict[str, Chain]:
    chains = {}
    for index, stem in enumerate(stems):
        others = [*stems[index + 1 :], *stems[:index]]
        round_trip = " → ".join((stem, *others, stem))
        message = f"{stem} extends itself: {round_trip}" if others else f"{stem} extends itself"
        finding = _at_extends(checked[stem], message, "name another environment or template")
        chains[stem] = Chain(stems=(stem,), findings=(finding,))
    return chains


def _link(stem: str, checked: Mapping[str, CheckedFile], folder: Folder, chains: Mapping[str, Chain]) -> Chain:
    """`stem` before the chain of its parent, which is known if it is readable."""
    parent = checked[stem].extends
    if parent is None:
        return Chain(stems=(stem,))
    if parent in folder.refused:
        return Chain(stems=(stem,), findings=folder.refused[parent])
    if parent not in checked:
        return Chain(stems=(stem,), findings=(_missing(stem, parent, checked, folder),))
    above = chains[parent]
    # A fault above is told there; here it only freezes.
    if findings := (*checked[parent].findings, *above.findings):
        return Chain(stems=(stem,), findings=findings)
    if len(above.stems) > EXTENDS_MAX:
        message = f"extends more than {EXTENDS_MAX} files, one over the other: {' → '.join((stem, *above.stems))}"
        finding = _at_extends(checked[stem], message, f"extend {above.stems[1]}, or one further on")
        return Chain(stems=(stem,), findings=(finding,))
    return Chain(stems=(stem, *above.stems))


def _missing(stem: str, parent: str, checked: Mapping[str, CheckedFile], folder: Folder) -> Finding:
    known = [name for name in (*checked, *folder.refused) if name != stem]
    near = f"_{parent}" if f"_{parent}" in known else parent.removesuffix(".yml").removesuffix(".yaml")
    remedy = suggest(near, known) or "it must be a file in the same folder, named without its ending"
    return _at_extends(checked[stem], f'extends "{parent}", which does not exist', remedy)


def _at_extends(child: CheckedFile, message: str, remedy: str) -> Finding:
    return Finding(origin=child.document.origin(("extends",)), message=message, remedy=remedy)
