"""Signed links: good for one file until one second, and for nothing else."""

from __future__ import annotations

import pytest

from mcp_image_server.policy.links import is_signed, signature

PROOF = signature(b"secret", "img_a_1.png", 2000)


def test_a_link_of_ours_opens_until_its_second() -> None:
    assert is_signed(b"secret", "img_a_1.png", "2000", PROOF, now=1999)
    assert is_signed(b"secret", "img_a_1.png", "2000", PROOF, now=2000)
    assert not is_signed(b"secret", "img_a_1.png", "2000", PROOF, now=2001)


@pytest.mark.parametrize(
    ("secret", "name", "expires", "proof"),
    [
        (b"other", "img_a_1.png", "2000", PROOF),
        (b"secret", "img_a_2.png", "2000", PROOF),
        (b"secret", "img_a_1.png", "2001", PROOF),
        (b"secret", "img_a_1.png", "²⁰⁰⁰", PROOF),
        (b"secret", "img_a_1.png", "9" * 400, PROOF),
        (b"secret", "img_a_1.png", "", PROOF),
        (b"secret", "img_a_1.png", None, PROOF),
        (b"secret", "img_a_1.png", "2000", None),
        (b"secret", "img_a_1.png", "2000", "é" * 24),
        (b"secret", "img_a_1.png", "-2000", PROOF),
    ],
)
def test_anything_else_does_not(secret: bytes, name: str, expires: str | None, proof: str | None) -> None:
    assert not is_signed(secret, name, expires, proof, now=1000)
