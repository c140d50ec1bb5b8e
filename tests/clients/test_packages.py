"""What is installed from the npm registry is named exactly, held to its hash, and comes from wherever the user's npm looks."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent


def test_the_packages_for_node_are_locked_with_hashes_and_without_addresses() -> None:
    asked = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    text = (HERE / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert packages.pop("") == {"dependencies": asked}
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert "://" not in text
