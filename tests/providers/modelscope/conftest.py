"""ModelScope's fake on a port."""

from __future__ import annotations

from ...fakes.modelscope import FakeModelScope
from ..service import served

server, fake = served(FakeModelScope)
