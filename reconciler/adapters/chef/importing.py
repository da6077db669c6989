"""PyChef 0.3.0, imported on a Python that it was not written for. Only here is `chef` imported.

It wants `pkg_resources` (gone), the abstract classes of `collections` under their old names (gone since 3.10) and
libcrypto through ctypes with `platform.linux_distribution` (gone since 3.8). It gets stand-ins while it is imported;
afterwards nothing outside its own package is different from before.
"""

import collections
import collections.abc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from reconciler.adapters.chef.signing import Key, SSLError

_OLD_NAMES = ("Mapping", "MutableMapping", "Sequence")
_USERS_OF_OLD_NAMES = ("chef.base", "chef.data_bag", "chef.node", "chef.search")


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _module(name: str, **members: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module


@contextmanager
def _stand_ins() -> Iterator[None]:
    previous = sys.modules.get("pkg_resources")
    added = [name for name in _OLD_NAMES if not hasattr(collections, name)]
    sys.modules["pkg_resources"] = _module("pkg_resources", parse_version=_parse_version)
    for name in added:
        setattr(collections, name, getattr(collections.abc, name))
    try:
        yield
    finally:
        for name in added:
            delattr(collections, name)
        if previous is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = previous


def _import_pychef() -> ModuleType:
    # PyChef's own submodule, so no global patch: it stays.
    sys.modules["chef.rsa"] = _module("chef.rsa", Key=Key, SSLError=SSLError)
    with _stand_ins():
        chef = importlib.import_module("chef")
    for name in _USERS_OF_OLD_NAMES:  # their methods look the old names up each time that they run
        vars(sys.modules[name])["collections"] = collections.abc
    return chef


_chef = _import_pychef()

ChefAPI = _chef.ChefAPI
Client = _chef.Client
Environment = _chef.Environment
Node = _chef.Node
Role = _chef.Role
NotFound: type[Exception] = _chef.exceptions.ChefServerNotFoundError
