"""Tencent's fake on a port."""

from __future__ import annotations

from ...fakes.hunyuan import FakeHunyuan
from ..service import served

server, fake = served(FakeHunyuan)
