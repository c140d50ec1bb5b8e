"""OpenAI's fake on a port."""

from __future__ import annotations

from ...fakes.openai import FakeOpenAI
from ..service import served

server, fake = served(FakeOpenAI)
