import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmi.manifests.documents import MAX_BYTES, split_documents


def read_one(text):
    documents, mistakes = split_documents(text, "f.yaml")
    assert mistakes == []
    assert len(documents) == 1
    return documents[0]


def complaint(text):
    documents, mistakes = split_documents(text, "f.yaml")
    assert documents == []
    assert len(mistakes) == 1
    return mistakes[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-17", -17),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b101", 5),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("Yes", True),
        ("off", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("text", "text"),
        ('"1"', "1"),
        ("'true'", "true"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("2026-01-01", "2026-01-01"),
        ("10:20:30:40:50:55", "10:20:30:40:50:55"),
        ("+49 30", "+49 30"),
        ("1.2.3", "1.2.3"),
        ("-", [None]),
    ],
)
def test_scalars_are_read_as_kubernetes_reads_them(text, value):
    found = read_one(f"a:\n  {text}\n").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_lines_count_from_the_start_of_the_file():
    document = read_one("# comment\n\n---\na:\n  - b: 1\n    c: 2\n")
    assert document.index == 1
    assert document.line(("a",)) == 4
    assert document.line(("a", 0, "c")) == 6
    assert document.line(("a", 0, "missing", "deeper")) == 5
    assert document.line(("elsewhere",)) == 4


def test_a_broken_document_does_not_hide_the_others():
    documents, mistakes = split_documents("a: 1\n---\nb: [\n---\nc: 3\n", "f.yaml")
    assert [document.data for document in documents] == [{"a": 1}, {"c": 3}]
    assert [document.index for document in documents] == [1, 3]
    assert [(mistake.document, mistake.file) for mistake in mistakes] == [(2, "f.yaml")]
    assert "not YAML" in mistakes[0].problem


def test_empty_documents_are_left_out_and_not_counted():
    documents, mistakes = split_documents("---\n# nothing\n---\n\n---\na: 1\n...\n", "f")
    assert [document.index for document in documents] == [1]
    assert mistakes == []


def test_text_that_looks_like_a_marker_does_not_split():
    assert read_one("a: |\n  ---\n  b\n").data == {"a": "---\nb\n"}
    assert read_one("a: 1\n---x: 2\n").data == {"a": 1, "---x": 2}


def test_every_repeated_key_is_a_mistake_at_its_line():
    documents, mistakes = split_documents("a: 1\nb: 1\na: 2\nb: {c: 1, c: 2}\n", "f")
    assert documents == []
    assert [(mistake.line, mistake.path) for mistake in mistakes] == [
        (3, "a"),
        (4, "b"),
        (4, "b.c"),
    ]


def test_aliases_and_merge_keys_work():
    text = "base: &x {a: 1, b: 2}\nmore: &y {b: 3, c: 3}\nown: {<<: [*x, *y], a: 9}\nsame: *x\n"
    data = read_one(text).data
    assert data["own"] == {"a": 9, "b": 2, "c": 3}
    assert data["same"] == {"a": 1, "b": 2}


def test_an_alias_bomb_is_refused_before_it_explodes():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "values in one document" in complaint("\n".join(lines)).problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: *nobody", "alias *nobody"),
        ("a: &a [*a]", "alias *a"),
        ("<<: 5", "alias of a block of fields"),
        ("a: !!python/object:os.system x", "tag tag:yaml.org,2002:python/object:os.system"),
        ("[" * 5000, "nested deeper"),
        ('{"a":' * 5000 + "\t1", "nested deeper"),
        ("on: 1", "not read as text"),
        ("[a]: 1", "plain text"),
        ("? {a: 1}\n: 2", "plain text"),
        ("a: .nan", "not a number that JSON knows"),
        ("a: -.inf", "not a number that JSON knows"),
        ("a:\n\tb: 1", "not YAML"),
        ("a: \x00", "not YAML"),
        ("a: 1\n...\nb: 2\n", "not YAML"),
        ("a: 1\n...\n%YAML 1.2\n", "not YAML"),
        ("{a: 1", "neither YAML nor JSON"),
        ('{"a":\t1, "a": 2}', "given twice"),
        ('{"a": "\\ud83d\\ude00", "b": NaN}', "NaN is not JSON"),
        ('{"a": "\\ud83d\\ude00", "b": -' + "1" * 5000 + "}", "5000 digits is too big for JSON"),
    ],
)
def test_what_is_dangerous_or_ambiguous_is_refused(text, words):
    assert words in str(complaint(text))


def test_where_something_began_is_told():
    mistake = complaint("a: 1\nb: 'never closed\nc: 2\n")
    assert mistake.line == 4
    assert "line 2" in mistake.problem


def test_numeric_keys_are_text():
    assert read_one("1: a\n0x10: b\n").data == {"1": "a", "0x10": "b"}


def test_text_beyond_the_limit_is_refused():
    assert "longer than 16 MiB" in complaint("#" * (MAX_BYTES + 1)).problem


def test_a_byte_order_mark_is_ignored():
    assert read_one("\ufeffa: 1").data == {"a": 1}


def test_json_that_yaml_does_not_know_is_read():
    document = read_one('{"a":\t1, "b": "\\ud83d\\ude00"}')
    assert document.data == {"a": 1, "b": "\U0001f600"}
    assert document.line(("b",)) == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_any_json_object_is_read_as_json(value):
    assert read_one(json.dumps({"a": value})).data == {"a": value}


@given(st.text(max_size=80))
def test_any_text_yields_data_or_mistakes_never_another_error(text):
    split_documents(text, "f")
