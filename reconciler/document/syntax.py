"""What libyaml says of broken syntax, in words that help."""

from typing import Final

import yaml

from reconciler.model.findings import Finding, Origin

# libyaml's own words → (message, remedy).
_ADVICE: Final = {
    "mapping values are not allowed in this context": (
        'a ": " stands where no key can be',
        "check the indentation, or quote the text that holds the colon",
    ),
    "did not find expected ',' or ']'": (
        "the list that begins with [ is not closed",
        "add a comma or the closing ], and quote items that hold brackets",
    ),
    "did not find expected ',' or '}'": ("the map that begins with { is not closed", "add a comma or the closing }"),
    "found unexpected end of stream": ("the quoted text that begins here is not closed", "add the closing quote"),
    "could not find expected ':'": ("a key without a value", 'write it as "key: value"'),
    "did not find expected key": (
        "this does not line up with the lines above",
        "indent all keys of one map equally; quote text that begins with a quote or a bracket",
    ),
    "did not find expected '-' indicator": (
        "this does not line up with the list above",
        'begin every item of the list with "- ", equally indented',
    ),
    "block sequence entries are not allowed in this context": (
        'a "- " stands where no list can be',
        "put the list on the lines below its key",
    ),
    "found unknown escape character": ("an unknown escape in quoted text", "use single quotes, or double the \\"),
    "did not find expected <document start>": ("this does not belong to the map above", "check the indentation"),
    "did not find expected node content": ("a value is missing before this", "remove the extra comma or bracket"),
}
# Where the fault began says more than where it was noticed.
_BEGINNING: Final = frozenset(
    {
        "did not find expected ',' or ']'",
        "did not find expected ',' or '}'",
        "found unexpected end of stream",
        "could not find expected ':'",
    }
)


def syntax_finding(error: yaml.YAMLError, content: bytes, file: str) -> Finding:
    """The one finding of a file that is not YAML."""
    problem = str(getattr(error, "problem", None) or "it cannot be read")
    mark = getattr(error, "problem_mark", None)
    if problem in _BEGINNING:
        mark = getattr(error, "context_mark", None) or mark
    line = int(mark.line) + 1 if mark is not None else 1
    if problem.startswith("found character") and mark is not None:
        message, remedy = _bad_character(content, int(mark.line), int(mark.column))
    else:
        message, remedy = _ADVICE.get(problem, (problem, "check the indentation, the quotes and the brackets"))
    return Finding(origin=Origin(file=file, line=line), message=f"not valid YAML: {message}", remedy=remedy)


def _bad_character(content: bytes, line: int, column: int) -> tuple[str, str]:
    lines = content.decode("utf-8", "replace").splitlines()
    character = lines[line][column : column + 1] if line < len(lines) else ""
    if character == "\t":
        return "a tab cannot indent a line", "indent with spaces"
    return f"plain text cannot begin with {character}", "quote it"
