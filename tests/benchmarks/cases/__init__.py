"""What is measured, one module for each group of cases."""

from __future__ import annotations

from tests.benchmarks.cases import chains, cron, floods, growth, lent, signups, talk, throughput
from tests.benchmarks.plan import Group

#: In the order in which they are measured.
GROUPS: tuple[Group, ...] = (
    # before what fills the databases: it has stacks of its own size, in the same folders
    *talk.GROUPS,
    *chains.GROUPS,
    *throughput.GROUPS,
    *signups.GROUPS,
    *floods.GROUPS,
    *cron.GROUPS,
    *growth.GROUPS,
    *lent.GROUPS,
)
