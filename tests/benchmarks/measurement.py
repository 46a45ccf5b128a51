"""What was measured of one case on one stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks import cpu, figures, stages
from tests.benchmarks.cpu import CpuUse


@dataclass
class Measurement:
    """Samples of a case on a stack, over all rounds.

    Parameters
    ----------
    samples
        In the case's unit.
    stages
        Durations of each stage, where the case has any.
    uses
        CPU used while it was measured.
    tasks
        Tasks that ended meanwhile, for the CPU per task; 0 when not counted.
    notes
        What a reader must know of the samples.
    """

    samples: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    uses: list[CpuUse] = field(default_factory=list)
    tasks: int = 0
    notes: list[str] = field(default_factory=list)

    def merge(self, other: Measurement) -> None:
        """Take over what another round measured."""
        self.samples += other.samples
        self.stages = stages.merge((self.stages, other.stages))
        self.uses += other.uses
        self.tasks += other.tasks
        self.notes += [note for note in other.notes if note not in self.notes]

    def details(self) -> dict[str, Any]:
        """Return what the summary leaves out, for the results file."""
        found: dict[str, Any] = {"samples": [round(x, 4) for x in self.samples]}
        if self.stages:
            found["stages"] = {k: figures.summary(v) for k, v in self.stages.items()}
        if self.uses:
            use = cpu.add(self.uses)
            found["seconds_measured"] = round(use.elapsed, 2)
            # cores: CPU seconds a second
            found["foreign_cpu"] = round(use.foreign / use.elapsed, 3)
            found["benchmark_cpu"] = round(use.own / use.elapsed, 3)
            found["stack_cpu"] = round(use.stack / use.elapsed, 3)
            if self.tasks:
                found["tasks"] = self.tasks
                found["cpu_per_task"] = {
                    name: round(seconds / self.tasks, 5) for name, seconds in use.parts.items()
                }
            found["cpu"] = {k: round(v / use.elapsed, 4) for k, v in use.parts.items()}
        if self.notes:
            found["notes"] = self.notes
        return found
