"""Doubao's fake on a port."""

from __future__ import annotations

from ...fakes.doubao import FakeDoubao
from ..service import served

server, fake = served(FakeDoubao)
