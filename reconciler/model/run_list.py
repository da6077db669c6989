"""Run lists as Chef writes them, so that a declared one and an observed one can be compared."""

from collections.abc import Iterable

_QUALIFIERS = ("recipe[", "role[")


def normalise(items: Iterable[str]) -> tuple[str, ...]:
    """`nginx` → `recipe[nginx]`; repeated items go, the first stays. Order and versions (`nginx@1.2.3`) are kept.

    It judges nothing: the Chef Server does the same to every run list that it stores.
    """
    return tuple(dict.fromkeys(item if item.startswith(_QUALIFIERS) else f"recipe[{item}]" for item in items))
