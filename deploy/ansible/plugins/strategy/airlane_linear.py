"""Ansible's strategy `linear`, by Mitogen where that is installed: half the time of a play.

Ansible starts sudo and Python on a host for each task; Mitogen keeps one Python there and forks it.
Ansible's own strategy takes its place where Mitogen is not there, and does the same, slower.
"""

from __future__ import annotations

try:
    from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule
except ImportError:
    from ansible.plugins.strategy.linear import StrategyModule

__all__ = ["StrategyModule"]
