"""One stack for all acceptance tests; the last file stops it and starts it again."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.acceptance.stack import Stack

#: Seconds for one test, a start of the stack included.
_TIMEOUT = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        on_stack = "session_stack" in getattr(item, "fixturenames", ())
        if on_stack and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every part's log below a failure."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("session_stack")
    if report.failed and isinstance(stack, Stack):
        report.sections += [(f"end of {name}", text) for name, text in stack.log_ends()]
    return report


@pytest.fixture(scope="session")
def session_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack in whatever state the test before has left it."""
    stack = Stack(tmp_path_factory.mktemp("acceptance") / "home")
    try:
        yield stack
    finally:
        # also after Ctrl-C, and when it came up half
        stack.end()


@pytest.fixture
def stack(session_stack: Stack) -> Stack:
    """The stack, up."""
    session_stack.need_up()
    return session_stack


@pytest.fixture
def decider(session_stack: Stack) -> Stack:
    """The stack, up, with a model."""
    session_stack.need_model()
    return session_stack
