"""Whether the studio may call a host that a person named: not this machine, not its private network.

    require_public("files.example.org", what="sftp://files.example.org/data")

Whoever reaches the pages could otherwise have the server look around where only the server gets to: other services on
this machine, the router, a cloud's metadata address. Whoever starts the studio names exceptions in the environment:
LUTHIER_ALLOWED_HOSTS="nas.lan,10.0.0.5". A name is resolved, and every address that it has must be public.
"""

import ipaddress
import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from studio.errors import RefusedInput

ALLOWED = "LUTHIER_ALLOWED_HOSTS"


def is_allowed(host: str) -> bool:
    """Whether whoever started the studio named this host as an exception."""
    return host.lower() in {each.strip().lower() for each in os.environ.get(ALLOWED, "").split(",") if each.strip()}


def require_public(host: str, *, what: str) -> str:
    """The number address to call in the host's place, so that nothing resolves the name a second time.

    A host that was allowed by name is called by its name.

    Args:
        what: the address as the person wrote it, for the refusal.

    Raises:
        RefusedInput: the host has no address, or one that is not public, and is no exception.
    """
    if is_allowed(host):
        return host
    try:
        found = _addresses_of(host)
    except (OSError, UnicodeError):
        raise RefusedInput("address.unknown", address=what, host=host) from None
    if not found or not are_public(found):
        raise RefusedInput("address.private", address=what, host=host, variable=ALLOWED)
    return found[0].partition("%")[0]


def _addresses_of(host: str) -> list[str]:
    """What a host resolves to; `127.1` and `0x7f000001` are numbers as every C library reads them."""
    with suppress(OSError):
        return [socket.inet_ntoa(socket.inet_aton(host))]
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    return [str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def are_public(addresses: Iterable[object]) -> bool:
    """Whether all of these number addresses belong to the open net; mapped and tunnelled IPv4 counts as what it is."""
    return all(_is_public(ipaddress.ip_address(str(each).partition("%")[0])) for each in addresses)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return _is_public(inner)
        if address in ipaddress.ip_network("64:ff9b::/96"):
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast
