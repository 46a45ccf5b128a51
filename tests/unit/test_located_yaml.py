import pytest

from airflow_config.located_yaml import parse


def test_values_and_the_lines_of_their_keys():
    located = parse("a: 1\nb:\n  - x\n  - {c: true}\n")
    assert located.values == {"a": 1, "b": ["x", {"c": True}]}
    assert located.faults == []
    assert located.line(("b",)) == 2
    assert located.line(("b", 1, "c")) == 4


def test_a_missing_key_is_on_the_line_around_it():
    located = parse("a:\n  b: 1\n")
    assert located.line(("a", "nothing", "here")) == 1
    assert located.line(("nowhere",)) == 1


def test_an_empty_file_holds_nothing():
    assert parse("# only a comment\n").values is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "expected each key once, found 'a' again (line 1)"),
        ("a: {b: 1,\n b: 2}\n", 2, "expected each key once, found 'b' again (line 1)"),
        ("a: 1\nb: [\n", 3, "expected valid YAML, found: "),
        ("a: &x\n  b: *x\n", 1, "an alias of the mapping or list around it"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "expected a word as a key"),
        ("? [1, 2]\n: 3\n", 1, "expected a word as a key"),
        ("a: !!python/object:os.system {}\n", 1, None),
        ("a: !nonsense 1\n", 1, "expected valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, "expected valid YAML"),
        ("a: 1\nb: \x01\n", 2, "expected text, found character 0x1"),
        ("a:\n  b: 2026-13-45\n", 2, "expected valid YAML, found: month"),
        ("a: !!bool maybe\n", 1, "expected valid YAML, found: 'maybe', which is no bool"),
        ("a: 1\nb: !!int ''\n", 2, "expected valid YAML, found: '', which is no int"),
        ("a: !!timestamp today\n", 1, "found: 'today', which is no timestamp"),
        ("a: 0x" + "f" * 5_000, 1, "expected valid YAML, found: Exceeds the limit"),
        ("a: " + "[" * 5_000, 1, "expected valid YAML, found: too many levels of nesting"),
    ],
)
def test_faults_say_where(text, line, message):
    faults = parse(text).faults
    if message is None:  # a tag on a mapping is not looked at, and never obeyed
        assert parse(text).values == {"a": {}}
        return
    assert [fault.line for fault in faults] == [line]
    assert message in faults[0].message
