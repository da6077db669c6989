"""Strict YAML: every fault is told with its line, and nothing in a file can hurt its reader."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.document import DEPTH_LIMIT, SIZE_LIMIT_BYTES, Document, Schema, read_document


def read(text: str | bytes) -> Document:
    return read_document(text.encode() if isinstance(text, str) else text, file="a.yml")


def told(text: str | bytes) -> list[str]:
    return [str(finding) for finding in sorted(read(text).findings)]


def test_a_plain_file_is_its_values_and_the_line_of_every_key() -> None:
    document = read("a: 1\nb:\n  c: [x, 'y']\n  d:\n    - 2.5\n    - true\n    - ~\n")
    assert document.findings == ()
    assert document.tree == {"a": 1, "b": {"c": ["x", "y"], "d": [2.5, True, None]}}
    assert {".".join(map(str, path)): line for path, line in document.lines.items()} == {
        "": 1,
        "a": 1,
        "b": 2,
        "b.c": 3,
        "b.c.0": 3,
        "b.c.1": 3,
        "b.d": 4,
        "b.d.0": 5,
        "b.d.1": 6,
        "b.d.2": 7,
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("text", "text"),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1.5e+3", 1500.0),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("2026-11-01", "2026-11-01"),
        ("1.2.3", "1.2.3"),
        ("10.0.0.1", "10.0.0.1"),
        ("y", "y"),
        ("yesterday", "yesterday"),
        ("deadbeef", "deadbeef"),
        ("m7i.large", "m7i.large"),
        ("|\n  two\n  lines", "two\nlines\n"),
    ],
)
def test_what_every_reader_of_yaml_agrees_on_is_read(written: str, value: object) -> None:
    document = read(f"a: {written}\n")
    assert document.findings == ()
    assert document.tree == {"a": value}


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off"])
def test_words_that_some_read_as_booleans_are_asked_about(word: str) -> None:
    assert told(f"x: 1\na: {word}\n") == [
        (
            f"a.yml:2: a: {word} is a boolean to some YAML readers and text to others "
            f'(write true or false, or quote it: "{word}")'
        )
    ]


@pytest.mark.parametrize(
    "number", ["010", "0o17", "0b11", "1_000", "12:30", "12:30:45", "1e3", "1.5e3", ".inf", ".nan"]
)
def test_numbers_that_readers_disagree_on_are_asked_about(number: str) -> None:
    assert told(f"a: {number}\n") == [
        (
            f"a.yml:1: a: {number} is a number to some YAML readers and text or another number to others "
            f'(quote it to mean text: "{number}"; or write a plain decimal number)'
        )
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["a.yml:1: the file is empty (declare something in it, or delete it)"]),
        ("# only a comment\n", ["a.yml:1: the file is empty (declare something in it, or delete it)"]),
        (
            "- a\n",
            ["a.yml:1: the file must be a map of keys and values (begin with a line such as key: value)"],
        ),
        (
            "just text\n",
            ["a.yml:1: the file must be a map of keys and values (begin with a line such as key: value)"],
        ),
        ("a: 1\nb: 2\na: 3\n", ['a.yml:3: the key "a" is there twice (the first is in line 1)']),
        (
            "a: &x 1\nb: *x\n",
            [
                "a.yml:1: the anchor &x is not allowed (remove it; use extends or defaults)",
                "a.yml:2: the alias *x is not allowed (write the value out, or use extends)",
            ],
        ),
        ("a: !foo 1\n", ["a.yml:1: the tag !foo is not allowed (remove it; only plain YAML is read)"]),
        ("a: !!int '1'\n", ["a.yml:1: the tag !!int is not allowed (remove it; only plain YAML is read)"]),
        (
            "a: !!python/object/apply:os.system ['true']\n",
            [
                "a.yml:1: the tag !!python/object/apply:os.system is not allowed (remove it; only plain YAML is read)",
            ],
        ),
        ("<<: {a: 1}\n", ['a.yml:1: the merge key "<<" is not allowed (use extends or defaults)']),
        ("1: x\n", ['a.yml:1: the key 1 is not text (quote it: "1")']),
        ("off: x\n", ['a.yml:1: the key off is not text (quote it: "off")']),
        ("on: x\n", []),
        ("? [a]\n: x\n", ["a.yml:1: a key must be text (write it as key: value)"]),
        (
            "a: 1\n---\nb: 2\n",
            ['a.yml:2: a second document begins with "---" (keep one document in a file)'],
        ),
        (
            "a:\nb: 1\n",
            ["a.yml:1: a has no value (give it one; {} is an empty map, and null removes what is inherited)"],
        ),
        (f"a: {'9' * 30}\n", [f'a.yml:1: a: the number "{"9" * 30}" is too large (quote it to mean text)']),
        (f"a: {'9' * 5000}\n", [f'a.yml:1: a: the number "{"9" * 59}… is too large (quote it to mean text)']),
        ("a: 1.5e+999\n", ['a.yml:1: a: the number "1.5e+999" is too large (quote it to mean text)']),
        ('a: "\\x9b"\n', ["a.yml:1: a holds a control character (remove the escape)"]),
        ('a: "\\0"\n', ["a.yml:1: a holds a control character (remove the escape)"]),
    ],
)
def test_what_is_not_plain_is_told(text: str, expected: list[str]) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", "2: not valid YAML: a tab cannot indent a line (indent with spaces)"),
        ("a: @b\n", "1: not valid YAML: plain text cannot begin with @ (quote it)"),
        ("a: `b`\n", "1: not valid YAML: plain text cannot begin with ` (quote it)"),
        (
            "a: 1\nb: c: d\n",
            (
                '2: not valid YAML: a ": " stands where no key can be '
                "(check the indentation, or quote the text that holds the colon)"
            ),
        ),
        (
            "a: [b\nc: 1\n",
            (
                "1: not valid YAML: the list that begins with [ is not closed "
                "(add a comma or the closing ], and quote items that hold brackets)"
            ),
        ),
        (
            "a: {b: 1\nc: 1\n",
            "1: not valid YAML: the map that begins with { is not closed (add a comma or the closing })",
        ),
        (
            "x: 1\na: 'b\nc: 1\n",
            "2: not valid YAML: the quoted text that begins here is not closed (add the closing quote)",
        ),
        ("a: 1\nb\nc: 1\n", '2: not valid YAML: a key without a value (write it as "key: value")'),
        (
            "a: 'b' c\n",
            (
                "1: not valid YAML: this does not line up with the lines above "
                "(indent all keys of one map equally; quote text that begins with a quote or a bracket)"
            ),
        ),
        ("a: - b\n", '1: not valid YAML: a "- " stands where no list can be (put the list on the lines below its key)'),
        ('a: "\\q"\n', "1: not valid YAML: an unknown escape in quoted text (use single quotes, or double the \\)"),
        (
            "%FOO\n",
            "1: not valid YAML: found unknown directive name (check the indentation, the quotes and the brackets)",
        ),
    ],
)
def test_broken_syntax_is_told_where_it_began_and_what_to_do(text: str, expected: str) -> None:
    assert told(text) == [f"a.yml:{expected}"]
    assert not read(text).is_readable


def test_several_faults_are_told_at_once_and_the_rest_is_read() -> None:
    document = read("a: &x 1\nb: yes\nb: 2\nc: ok\n")
    assert [finding.origin.line for finding in document.findings] == [1, 2, 3]
    assert document.is_readable
    assert document.tree["c"] == "ok"


def test_faults_before_a_syntax_error_are_told_with_it() -> None:
    assert [line.partition(" (")[0] for line in told("a: &x 1\nb: c: d\n")] == [
        "a.yml:1: the anchor &x is not allowed",
        'a.yml:2: not valid YAML: a ": " stands where no key can be',
    ]


def test_what_follows_a_second_document_is_read_for_its_syntax_only() -> None:
    assert len(told("a: 1\n---\nb: 'c\n")) == 2
    assert len(told(f"a: 1\n---\nb: {'[' * 200}\n")) == 2


def test_crlf_and_a_byte_order_mark_change_nothing() -> None:
    unix = read("a: 1\nb: {c: 2}\n")
    windows = read("\ufeffa: 1\r\nb: {c: 2}\r\n".encode())
    assert windows == unix
    assert told("\ufeffa: 1\r\na: 2\r\n") == ['a.yml:2: the key "a" is there twice (the first is in line 1)']


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\nb: \xff\n", "a.yml:2: the file is not UTF-8 (save it in the encoding UTF-8)"),
        ("a: ü\n".encode("latin-1"), "a.yml:1: the file is not UTF-8 (save it in the encoding UTF-8)"),
        ("a: 1\n".encode("utf-16"), "a.yml:1: the file is not UTF-8 (save it in the encoding UTF-8)"),
        (b"a: 1\nb: \x00\n", "a.yml:2: there is a control character ('\\x00') (delete it)"),
        (
            b"a: 1\n" + b"#" * SIZE_LIMIT_BYTES,
            "a.yml:1: the file is larger than 256 KiB (split it, or shorten it)",
        ),
    ],
)
def test_bytes_that_are_no_text_are_refused(content: bytes, expected: str) -> None:
    assert told(content) == [expected]


def test_an_alias_bomb_is_only_a_list_of_findings() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    document = read("\n".join(levels))
    assert len(document.findings) == 12 + 11 * 9
    assert len(json.dumps(document.tree)) < 2000


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_nesting_beyond_the_limit_is_refused_at_any_depth(opening: str, closing: str) -> None:
    within = DEPTH_LIMIT - 1
    assert read(f"a: {opening * within}{'x' if 'a' in opening else ''}{closing * within}").findings == ()
    for depth in (DEPTH_LIMIT, 1000, 50_000):
        assert told(f"a: 1\nb: {opening * depth}") == [
            "a.yml:2: values are nested deeper than 20 levels (flatten them)"
        ]


@given(st.binary(max_size=200))
def test_no_content_raises(content: bytes) -> None:
    document = read_document(content, file="a.yml")
    assert document.is_readable or document.findings


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_no_text_raises_and_what_is_read_is_json(text: str) -> None:
    document = read_document(text.encode(), file="a.yml")
    json.dumps(document.tree, allow_nan=False)
    assert document.is_readable or document.findings


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"])),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text("abc", min_size=1), values, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", min_size=1), JSON, min_size=1))
def test_json_is_read_as_it_is(tree: dict[str, object]) -> None:
    document = read_document(json.dumps(tree).encode(), file="a.yml")
    assert document.findings == ()
    assert document.tree == tree


# --- schemas --------------------------------------------------------------------------------------------------------

SCHEMA = Schema(
    {
        "title": "The whole",
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "errorMessage": "lower-case letters"},
            "version": {"type": ["string", "null"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 3},
            "on_call": {"type": "boolean"},
            "wait": {"type": "string", "pattern": "^[0-9]+s$", "errorMessage": "a duration"},
            "colour": {"enum": ["red", "green", None]},
            "list": {"type": "array", "minItems": 1, "maxItems": 2, "uniqueItems": True, "items": {"type": "string"}},
            "later": {"$ref": "#/$defs/later"},
            "part": {
                "title": "A part",
                "type": "object",
                "additionalProperties": False,
                "properties": {"size": {"type": "number"}, "later": {"$ref": "#/$defs/later"}},
            },
            "free": {
                "type": "object",
                "maxProperties": 2,
                "propertyNames": {"pattern": "^[a-z]+$", "errorMessage": "lower-case letters"},
            },
        },
        "$defs": {"later": {"not": {}, "errorMessage": "is not supported yet"}},
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: ok", []),
        ("count: 1", ["1: name is missing (add it)"]),
        ("name: A1", ['1: name must be lower-case letters, not "A1"']),
        ('name: "ok\\n"', ['1: name must be lower-case letters, not "ok\\n"']),
        ("name: abcdef", ["1: name has 6 characters, at most 5 are allowed (shorten it)"]),
        ("name: ok\nnaem: x", ['2: unknown key "naem" (did you mean "name"?)']),
        ("name: ok\nsize: 1", ['2: unknown key "size" (it belongs to a part)']),
        (
            "name: ok\nzzz: 1",
            ['2: unknown key "zzz" (known here: colour, count, free, list, name, on_call, part, version, wait)'],
        ),
        ("name: ok\nversion: 1.10", ['2: version must be text, not the number 1.10 (quote it: "1.10")']),
        ("name: ok\nversion: true", ['2: version must be text, not the boolean true (quote it: "true")']),
        ("name: ok\nversion: {}", ["2: version must be text, not a map"]),
        ("name: ok\nversion: null", []),
        ('name: ok\ncount: "2"', ['2: count must be a whole number, not the text "2" (remove the quotes: 2)']),
        ("name: ok\ncount: 4", ["2: count must be at most 3, not 4"]),
        ("name: ok\ncount: 0", ["2: count must be at least 1, not 0"]),
        ("name: ok\ncount: null", ["2: count must be a whole number, not null"]),
        (
            'name: ok\non_call: "yes"',
            ['2: on_call must be true or false, not the text "yes" (write true or false, without quotes)'],
        ),
        (
            "name: ok\non_call: yes",
            [
                '2: on_call: yes is a boolean to some YAML readers and text to others (write true or false, or quote it: "yes")'
            ],
        ),
        ("name: ok\nwait: 30", ["2: wait must be a duration, not the number 30"]),
        ("name: ok\ncolour: rde", ['2: colour must be one of "red", "green", not "rde" (did you mean "red"?)']),
        ("name: ok\nlist: a", ['2: list must be a list, not the text "a" (write it as a list: [a])']),
        ("name: ok\nlist: []", ["2: list is empty (give it a value, or remove it)"]),
        ("name: ok\nlist: [a, b, c]", ["2: list has 3 items, at most 2 are allowed (shorten it)"]),
        ("name: ok\nlist:\n- a\n- a", ['2: list names "a" twice (keep one)']),
        ("name: ok\nlist:\n- a\n- 1", ['4: item 2 of list must be text, not the number 1 (quote it: "1")']),
        ("name: ok\nlater: 1", ["2: later is not supported yet (remove it)"]),
        ("name: ok\npart:\n  later: 1", ["3: part.later is not supported yet (remove it)"]),
        ("name: ok\npart: 1", ["2: part must be a map, not the number 1 (write it as keys and values)"]),
        ("name: ok\nfree:\n  a: 1\n  B: 1", ['4: the key "B" of free must be lower-case letters']),
        ("name: ok\nfree: {a: 1, b: 1, c: 1}", ["2: free has 3 keys, at most 2 are allowed (shorten it)"]),
        (f"name: {'x' * 90}", ["1: name has 90 characters, at most 5 are allowed (shorten it)"]),
    ],
)
def test_a_schema_speaks_to_people(text: str, expected: list[str]) -> None:
    document = read(text)
    findings = sorted({*document.findings, *SCHEMA.check(document)})
    assert [str(finding) for finding in findings] == [f"a.yml:{line}" for line in expected]


def test_the_schemas_of_the_project_are_found_and_compiled_once() -> None:
    for name in ("environment.schema.json", "settings.schema.json"):
        assert Schema.named(name) is Schema.named(name)
