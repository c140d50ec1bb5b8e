from __future__ import annotations

import os
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.guard import ForbiddenAddressError, ForbiddenPathError, inside, is_public, literal, public_addresses, stem

pytestmark = pytest.mark.anyio

PUBLIC = ("8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "223.255.255.255", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8")
NOT_PUBLIC = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_inner_reserved_or_hidden_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_like_itself(address: IPv4Address) -> None:
    assert is_public(IPv6Address(f"::ffff:{address}")) == is_public(IPv6Address(f"64:ff9b::{address}")) == is_public(address)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_public(address: IPv4Address | IPv6Address) -> None:
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in IPv6Network("64:ff9b::/96")):
        return
    assert not (is_public(address) and (address.is_private or address.is_multicast or address.is_reserved or address.is_link_local))


@pytest.mark.parametrize(
    "written",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "0177.0.0.1",
        "0177.1",
        "127.1",
        "127.0.1",
        "00000177.0.0.0x1",
        "127.0.0.1.",
        "１２７.0.0.1",
        "[::ffff:7f00:1]",
    ],
)
def test_every_way_to_write_the_loopback_address_is_recognized(written: str) -> None:
    address = literal(written)
    assert address is not None
    assert (address.ipv4_mapped if isinstance(address, IPv6Address) else address) == IPv4Address("127.0.0.1")


@pytest.mark.parametrize(
    "name", ["example.com", "localhost", "1.2.3.4.5", "256.1.1.1", "08.1.1.1", "1.2.3.256", "4294967296", "0xg.1", "", "a:b", "1..2"]
)
def test_a_name_is_not_taken_for_an_address(name: str) -> None:
    assert literal(name) is None


@given(st.ip_addresses(v=4))
def test_decimal_octal_and_hexadecimal_forms_name_the_same_address(address: IPv4Address) -> None:
    number = int(address)
    assert literal(str(number)) == literal(hex(number)) == literal(f"0{number:o}") == literal(str(address)) == address


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def answer(host: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, int(port))) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def test_a_public_name_gives_its_addresses_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "8.8.8.8", "2606:4700::1111", "8.8.8.8")
    assert await public_addresses("pictures.example", 443) == (IPv4Address("8.8.8.8"), IPv6Address("2606:4700::1111"))


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "fe80::1%eth0"])
async def test_a_name_with_one_inner_address_is_refused_whole(monkeypatch: pytest.MonkeyPatch, inner: str) -> None:
    resolve_to(monkeypatch, "8.8.8.8", inner)
    with pytest.raises(ForbiddenAddressError, match=r"pictures\.example leads to") as caught:
        await public_addresses("pictures.example", 443)
    assert caught.value.code == "address_not_allowed"


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "169.254.169.254"])
async def test_an_inner_address_is_refused_without_asking_for_a_name(host: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="not an address on the public internet"):
        await public_addresses(host, 80)


async def test_a_name_without_an_address_is_a_failure_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch)
    with pytest.raises(OSError, match="no address"):
        await public_addresses("nowhere.example", 80)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_a_path_inside_comes_back_absolute(root: Path) -> None:
    assert inside("a/b.png", [root]) == root.resolve() / "a" / "b.png"
    assert inside(root / "小猫.png", [root]) == root.resolve() / "小猫.png"
    assert inside("a/../b.png", [root]) == root.resolve() / "b.png"


def test_each_of_several_folders_may_hold_the_path(root: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    assert inside(second / "new.png", [root, second]) == second.resolve() / "new.png"


@pytest.mark.parametrize(
    "path", ["../a.png", "a/../../b.png", "/etc/passwd", "~/a.png", "~nobody-here/a.png", "//server/share/a.png", "\\\\server\\share\\a.png"]
)
def test_a_path_that_leaves_the_folders_is_refused(root: Path, path: str) -> None:
    with pytest.raises(ForbiddenPathError) as caught:
        inside(path, [root])
    assert caught.value.code == "path_not_allowed"


def test_a_folder_with_a_longer_name_is_not_inside(root: Path) -> None:
    with pytest.raises(ForbiddenPathError, match="outside the allowed folders"):
        inside(root.parent / "pictures-of-others" / "a.png", [root])


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_is_judged_by_where_it_leads(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (root / "out.png").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "in.png").symlink_to(root / "true.png")
    for path in ("out.png", "up/secret.txt", "up/new.png"):
        with pytest.raises(ForbiddenPathError, match="outside the allowed folders"):
            inside(path, [root])
    assert inside("in.png", [root]) == root.resolve() / "true.png"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_folder_may_be_named_by_a_link_to_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "nickname").symlink_to(root)
    assert inside(tmp_path / "nickname" / "a.png", [root]) == root.resolve() / "a.png"
    assert inside(root / "a.png", [tmp_path / "nickname"]) == root.resolve() / "a.png"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_circle_of_links_is_refused_or_stays_inside(root: Path) -> None:
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    with suppress(ForbiddenPathError):  # from Python 3.13 on such a path resolves to itself
        assert inside("a/x.png", [root]).is_relative_to(root.resolve())


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a\0.png", "NUL"),
        ("x" * 256 + ".png", "longer than 255 bytes"),
        ("猫" * 84 + ".png", "longer than 255 bytes"),
        ("a.png.", "dot or a space"),
        ("folder /a.png", "dot or a space"),
        ("con", "device"),
        ("NUL.png", "device"),
        ("a/com1.tar.gz", "device"),
        ("lpt² .png", "device"),
        ("CONOUT$", "device"),
        ("\ud800.png", "cannot be used as a path"),
    ],
)
def test_a_name_that_some_system_cannot_store_is_refused_everywhere(root: Path, path: str, words: str) -> None:
    with pytest.raises(ForbiddenPathError, match=words):
        inside(path, [root])


@pytest.mark.parametrize("name", ["console.png", "com10.png", "nul_1.png", ".hidden.png", "a b.png", "x" * 251 + ".png"])
def test_a_name_that_only_looks_like_one_of_those_is_fine(root: Path, name: str) -> None:
    assert inside(name, [root]).name == name


def test_without_folders_nothing_is_inside() -> None:
    with pytest.raises(ForbiddenPathError, match="No folder is open"):
        inside("a.png", [])


@given(st.text(alphabet=st.characters(exclude_characters="\0"), min_size=1, max_size=80))
def test_whatever_is_allowed_lies_inside(text: str) -> None:
    folder = Path("/srv/pictures").absolute()
    with suppress(ForbiddenPathError):
        assert inside(text, [folder]).is_relative_to(folder.resolve())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("my cat", "my_cat"),
        ("小猫 1", "小猫_1"),
        ("../../etc/passwd", "______etc_passwd"),
        ("a\0b", "a_b"),
        ("Übung", "Übung"),
        ("e\u0301", "é"),
        ("", ""),
    ],
)
def test_a_stem_keeps_letters_of_every_script(text: str, kept: str) -> None:
    assert stem(text) == kept


@given(st.text(max_size=300))
def test_a_stem_is_a_safe_short_name(text: str) -> None:
    made = stem(text)
    assert all(c.isalnum() or c == "_" for c in made)
    assert len(made.encode()) <= 120
    assert stem(made) == made
