"""What the memory lies in changes nothing but speed."""

from __future__ import annotations

import sys

import pytest

from workers import huge_pages


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's call")
def test_contents_stay():
    block = bytearray(range(256)) * (16 * 2**20 // 256)
    huge_pages.use()
    assert block == bytes(range(256)) * (16 * 2**20 // 256)


def test_a_system_without_them_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert huge_pages.use() == 0


def test_a_refusal_costs_nothing(monkeypatch):
    monkeypatch.setattr(huge_pages, "_places", lambda: iter([0]))
    assert huge_pages.use() == 0
