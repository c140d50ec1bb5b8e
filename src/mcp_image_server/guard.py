"""Which addresses and paths may be reached. What a stranger wrote (a link in a reply, a file name in a tool call) passes here first."""

from __future__ import annotations

import os
import re
import socket
import unicodedata
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import ClassVar

import anyio

from .errors import RequestError

Address = IPv4Address | IPv6Address


class ForbiddenAddressError(RequestError):
    """The address is not on the public internet, so a link from elsewhere may not lead there."""

    default_code: ClassVar[str] = "address_not_allowed"


class ForbiddenPathError(RequestError):
    """The path leaves the allowed folders, or its name cannot be stored on every system."""

    default_code: ClassVar[str] = "path_not_allowed"


# Addresses ----------------------------------------------------------------------------------------------------------------------------------

# From IANA's special-purpose address registries. Written out, because what `is_global` answers differs between the Python versions we run on.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; also the metadata service of one large cloud
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; also the metadata service of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # retired 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, among them Teredo, which hides an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which hides an IPv4 address and has been retired
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether the address is one host on the public internet. An IPv4 address inside an IPv6 one is judged by itself."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:  # networks without IPv4 reach every IPv4 host this way
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def literal(host: str) -> Address | None:
    """The address a host is written as, also in the old forms (`2130706433`, `0x7f.1`, `0177.0.0.1`); None for a name."""
    host = unicodedata.normalize("NFKC", host).strip().removeprefix("[").removesuffix("]").rstrip(".")
    if ":" in host:
        try:
            return IPv6Address(host)
        except AddressValueError:
            return None
    try:
        numbers = [_number(part) for part in host.split(".")]
    except ValueError:
        return None
    *first, last = numbers
    if len(first) > 3 or any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return None
    return IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(first)) + last)


def _number(text: str) -> int:
    if re.fullmatch(r"0[xX][0-9a-fA-F]*", text):
        return int(text[2:] or "0", 16)
    if re.fullmatch(r"0[0-7]*", text):
        return int(text, 8)
    if re.fullmatch(r"[1-9][0-9]*", text):
        return int(text)
    raise ValueError(text)


async def public_addresses(host: str, port: int) -> tuple[Address, ...]:
    """The addresses of a host, every one checked to be public: connect to one of these, never to the name again.

    A name may answer differently the next time it is asked, which is how a public name is turned into an inner address between check and connection.

    Raises:
        ForbiddenAddressError: one of the addresses is not public.
        OSError: the name has no address.
    """
    written = literal(host)
    if written is not None:
        found = [written]
    else:
        answers = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = [address for address in (literal(str(answer[4][0]).partition("%")[0]) for answer in answers) if address is not None]
    if not found:
        raise OSError(f"{host} has no address")
    for address in found:
        if not is_public(address):
            where = f"{host} is" if written is not None else f"{host} leads to {address}, which is"
            raise ForbiddenAddressError(f"{where} not an address on the public internet. Only links to public addresses are followed.")
    return tuple(dict.fromkeys(found))


# Paths --------------------------------------------------------------------------------------------------------------------------------------

MAX_NAME_BYTES = 255
"""Longest file name that common file systems store, in UTF-8 bytes."""

MAX_STEM_BYTES = 120
"""Longest first part of a stored file's name, so that provider, id and ending still fit beside it."""

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


def inside(path: str | Path, roots: Sequence[Path]) -> Path:
    """The path made absolute, links resolved, when it lies in one of the folders; for a file that exists as for one to be written.

    A relative path starts at the first folder. Names that some system cannot store (`NUL`, a dot or space at the end) are refused on every system,
    so that what works here works after a move.

    Raises:
        ForbiddenPathError: the path leaves the folders or holds such a name; the message names the folders.
    """
    text = os.fspath(path)
    if not roots:
        raise ForbiddenPathError("No folder is open for reading or writing files. The operator of the server can allow one.")
    if "\0" in text:
        raise ForbiddenPathError("A path cannot hold a NUL character.")
    if re.match(r"[\\/]{2}", text):
        # Merely looking at such a path makes some systems log in to the machine it names.
        raise ForbiddenPathError(f"{text!r} names another machine. Use a path in {_listed(roots)}.")
    for name in Path(text).parts:
        _check_name(name)
    try:
        resolved = (roots[0] / Path(text).expanduser()).resolve()
        folders = [root.resolve() for root in roots]
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, an unknown ~user, half a character
        raise ForbiddenPathError(f"{text!r} cannot be used as a path: {error}.") from error
    if not any(resolved.is_relative_to(folder) for folder in folders):
        raise ForbiddenPathError(f"{text!r} lies outside the allowed folders. Use a path in {_listed(roots)}.")
    return resolved


def _listed(roots: Sequence[Path]) -> str:
    return " or ".join(str(root) for root in roots)


def _check_name(name: str) -> None:
    if name in (os.curdir, os.pardir) or Path(name).anchor:
        return
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise ForbiddenPathError(f"The name {name[:40]!r}… is longer than {MAX_NAME_BYTES} bytes. Choose a shorter one.")
    if name.endswith((".", " ")):
        raise ForbiddenPathError(f"The name {name!r} ends in a dot or a space, which Windows drops. Leave it out.")
    if os.name == "nt" and ":" in name:
        raise ForbiddenPathError(f"The name {name!r} holds a colon, behind which Windows hides a second file. Leave it out.")
    if is_device(name):
        raise ForbiddenPathError(f"The name {name!r} belongs to a device on Windows. Choose another one.")


def is_device(name: str) -> bool:
    """Whether Windows takes a file of that name for one of its devices, whatever its ending."""
    return _RESERVED.fullmatch(name) is not None


def stem(text: str) -> str:
    """The text as first part of a file name: letters and digits of any script and `_` stay, everything else becomes `_`."""
    kept = "".join(c if c.isalnum() or c == "_" else "_" for c in unicodedata.normalize("NFC", text))
    return kept.encode("utf-8", "ignore")[:MAX_STEM_BYTES].decode("utf-8", "ignore")
