"""Which run-list items Chef takes (`model.run_list` brings them into the form that it keeps)."""

import re
from typing import Final

_NAME: Final = r"[A-Za-z0-9_.-]+"
_RECIPE: Final = rf"{_NAME}(?:::{_NAME})?(?:@[0-9]+(?:\.[0-9]+){{1,2}})?"
_ITEM: Final = re.compile(rf"recipe\[{_RECIPE}\]|role\[{_NAME}\]|{_RECIPE}")

FORMS: Final = "recipe[nginx], recipe[nginx::proxy], recipe[nginx@1.2.3], role[base], or a bare recipe name"


def is_item(text: str) -> bool:
    return _ITEM.fullmatch(text) is not None
