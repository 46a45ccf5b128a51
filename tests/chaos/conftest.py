"""The stack of the acceptance tests, for a session of faults."""

from tests.acceptance.conftest import (  # noqa: F401 - fixtures
    decider,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    session_stack,
    stack,
)
