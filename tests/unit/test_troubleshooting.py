"""Each message of ours has a heading in docs/troubleshooting.md that a search for its words finds.

What counts as a message is read from the sources, not listed by hand:

- Python (the packages and `tools/install.py`): each text that is raised, that goes to
  `errors.print`, `fail`, `_end`, `_failed` or a dead letter (`_bury`), or to a log as a warning or
  an error; and each text anywhere, docstrings apart, that says `expected ...`.
- Ansible: each `fail_msg`, and each text that says `expected ... found` (names of tasks apart).

What a heading has to say is the beginning of the message: from its `expected`, or else from its
start, to what was found or the fix. `...` is what is put in at run time. A `...` of a heading may
also stand for one word, so that messages which only differ in a name share a heading. Texts without
a word of their own cannot be searched for and need no heading (`expected {a rule}, found {value}`).
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from airflow_config.place import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = ("airflow_config", "airlane", "dags", "deploy", "intake", "workers")
FILES = [file for name in PACKAGES for file in sorted((ROOT / name).rglob("*.py"))]
FILES.append(ROOT / "tools" / "install.py")
PLAYS = sorted((ROOT / "deploy" / "ansible").rglob("*.yml"))
#: Functions that show their text to a person.
SHOWN_BY = {"fail", "_bury", "_end", "_failed"}
LOGGED_BY = {"warning", "error", "exception", "critical"}
#: Mistakes of ours, not of who runs it.
BUGS = {"AssertionError", "NotImplementedError"}
#: Where the beginning of a message may end: at what was found, the fix, a sentence, a line.
END = re.compile(r"[,;:]? found\b|[.;:,]? Fix\b|\n|[:;] |\. (?=[A-Z])")
EXPECTED = re.compile(r"\bexpected (?=\S)", re.I)
#: Words that nobody finds a message by.
COMMON = {
    *("a", "airlane", "and", "at", "by", "expected", "fix", "for", "found", "in", "is", "no"),
    *("none", "of", "on", "or", "the", "to", "was", "what", "with"),
}

#: Texts that nobody sees as they are, and why.
UNSEEN = {
    "Failed to acquire advisory lock": "Airflow's own scheduler takes it for its own and goes on",
    "process ... still runs": "told to the caller of wait(), as subprocess does",
    "process ... has ended": "told by: Forking a new template of task processes",
    "process ... takes no orders": "told by: Forking a new template of task processes",
    "--class: ... Fix: name a class of ..., or render the role anew": "its head is expected one of",
    "Fix: airlane secrets init, encrypt what it writes with ansible-vault, and run site.yml": (
        "the end of: expected the secret ..."
    ),
    "(no queue at all means ...)": "the end of: expected one of ...",
    "expected no body": "the call is answered by Airflow's own code then",
}


#: Name -> the texts that a file gives it.
Names = dict[str, list[str]]


def template(node: ast.AST, names: Names) -> str | None:
    """Return a text with `...` for what is put in at run time; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdrfg]", "...", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part, names) or "..." for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return template(node.value, names)
    if isinstance(node, ast.Name) and node.id.isupper() and len(names.get(node.id, ())) == 1:
        return names[node.id][0]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = template(node.left, names), template(node.right, names)
        return None if left is None and right is None else (left or "...") + (right or "...")
    return None


def named(tree: ast.AST) -> Names:
    """Return the texts that a file gives names, such as `EXPECTED = "a duration such as 90s"`."""
    names: Names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = template(node.value, {})
            if text is not None:
                names.setdefault(node.targets[0].id, []).append(text)
    return names


def own_words(text: str) -> int:
    """Count the words that a message can be found by."""
    return len([word for word in re.findall(r"[^\W\d_]{2,}", text) if word.lower() not in COMMON])


def beginning(text: str) -> str:
    """Return the words of a message that its heading has to have; nothing when it has none."""
    text = text.strip().removeprefix("airlane: ").removeprefix("Nothing was changed. ")
    expected = EXPECTED.search(text)
    starts = [text[expected.start() :], text] if expected else [text]
    for start in starts:
        for end in [*(match.start() for match in END.finditer(start)), len(start)]:
            words = " ".join(re.sub(r"\.{3,}", "...", start[:end]).split()).strip(".,:; ")
            if own_words(words) >= (1 if expected else 2):
                return words
    return ""


def texts(node: ast.AST, names: Names) -> Iterator[tuple[int, str]]:
    """Yield the texts in an expression with their lines, none of them in parts."""
    text = template(node, names)
    if text is not None:
        yield node.lineno, text
    elif isinstance(node, ast.Name):
        yield from ((node.lineno, text) for text in names.get(node.id, ()))
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child, names)


def shown(node: ast.AST) -> list[ast.expr]:
    """Return the expressions of a statement or a call whose texts a person sees."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return [] if ast.unparse(node.exc.func) in BUGS else node.exc.args
    if isinstance(node, ast.Call):
        owner, _, name = ast.unparse(node.func).rpartition(".")
        if (owner, name) == ("errors", "print") or (name in SHOWN_BY and owner in ("", "self")):
            return node.args
        if name in LOGGED_BY and re.search(r"log(ger)?$", owner):
            return node.args[:1]
    return []


def docstrings(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # of attributes and modules too: texts that are no argument
            yield node.value


def in_python(file: Path) -> Iterator[tuple[str, str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = named(tree)
    found = {
        place for node in ast.walk(tree) for part in shown(node) for place in texts(part, names)
    }
    silent = {id(text) for text in docstrings(tree)}
    for node in ast.walk(tree):
        text = None if id(node) in silent else template(node, names)
        if text is not None and not isinstance(node, ast.Name):
            silent.update(id(part) for part in ast.walk(node))
            if EXPECTED.search(text):
                found.add((node.lineno, text))
    for line, text in sorted(found):
        yield f"{file.relative_to(ROOT)}:{line}", text


def values(node: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield all texts of a YAML document, each with the key that it stands at."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from values(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from values(value, key)
    elif isinstance(node, str):
        yield key, node


class Loader(yaml.SafeLoader):
    """Reads YAML with tags of Ansible, such as `!vault`."""


Loader.add_multi_constructor("!", lambda *_: None)


def in_ansible(file: Path) -> Iterator[tuple[str, str]]:
    for document in yaml.load_all(file.read_text(encoding="utf-8"), Loader):
        for key, value in values(document):
            text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "...", value, flags=re.S)
            says = re.search(r"\bexpected\b.*\bfound\b", text, re.S | re.I)
            if key == "fail_msg" or (says and key != "name"):
                # one text may hold several, in the branches of its template
                for part in re.split(r"(?=\bexpected )", " ".join(text.split()), flags=re.I)[1:]:
                    yield str(file.relative_to(ROOT)), part
                if not EXPECTED.search(text):
                    yield str(file.relative_to(ROOT)), " ".join(text.split())


@cache
def messages() -> dict[str, str]:
    """Return the beginnings of all messages, each with a place that it comes from."""
    found: dict[str, str] = {}
    for source in (*map(in_python, FILES), *map(in_ansible, PLAYS)):
        for place, text in source:
            if words := beginning(text):
                found.setdefault(words, place)
    return found


def headings(page: str) -> list[str]:
    """Return the messages in the headings of a page: what is marked as code there."""
    lines = re.findall(r"^#{3,} (.+)$", re.sub(r"```.*?```", "", page, flags=re.S), re.M)
    return [beginning(span) for line in lines for _, span in re.findall(r"(`+)(.+?)\1", line)]


def pattern(heading: str) -> re.Pattern[str]:
    return re.compile(re.escape(heading).replace(r"\.\.\.", r"(?:\.{3}|[^\s,]+)"), re.I)


def missing(page: str) -> dict[str, str]:
    """Return the messages without a heading in a page, each with where it comes from."""
    known = [pattern(heading) for heading in headings(page)]
    return {
        words: place
        for words, place in messages().items()
        if words not in UNSEEN and not any(one.fullmatch(words) for one in known)
    }


@cache
def sources() -> str:
    """Return all texts of the sources, a line each."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in FILES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found = [text for node in nodes if (text := template(node, {})) is not None]
    found += [file.read_text(encoding="utf-8") for file in PLAYS]
    return "\n".join(" ".join(text.split()) for text in found)


def strange(page: str) -> list[str]:
    """Return the headings that fit no message, and have words that no text of the sources has."""
    return [
        heading
        for heading in headings(page)
        if not any(pattern(heading).fullmatch(words) for words in messages())
        for words in re.sub(r"^expected ", "", heading).split("...")
        if words.strip(" ,.:;()") not in sources()
    ]


def test_each_message_has_a_heading():
    assert missing(PAGE.read_text(encoding="utf-8")) == {}


def test_a_message_without_a_heading_is_named_with_its_place():
    page = PAGE.read_text(encoding="utf-8")
    heading = next(line for line in page.splitlines() if "expected to be alone with" in line)
    told = missing(page.replace(heading, ""))
    assert [place.partition(":")[0] for place in told.values()] == ["deploy/local/stack.py"]


def test_each_heading_is_of_a_message_that_is_there():
    assert strange(PAGE.read_text(encoding="utf-8")) == []


def test_what_nobody_sees_is_there():
    assert [words for words in UNSEEN if words not in messages()] == []
