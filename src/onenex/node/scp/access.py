"""Who may speak to the node: default deny."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from enum import Enum

from onenex.errors import NodeError
from onenex.node.config import NodeConfig, Tls

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Role(Enum):
    """What a caller may do."""

    SENDER = "sender"
    """Everything: it is one of `peers`."""
    ARCHIVE = "archive"
    """Promise storage only: it is one of `destinations`."""
    NOBODY = "nobody"


@dataclass(frozen=True, kw_only=True)
class Access:
    """The allow-list of one node."""

    ae_title: str
    """The node's own."""
    senders: tuple[tuple[str, tuple[_Network, ...]], ...]
    """AE title, networks."""
    archives: tuple[tuple[str, tuple[_Network, ...]], ...]

    def knows(self, address: str) -> bool:
        """Whether anybody may call from this address."""
        where = _plain(address)
        return any(where in network for _, networks in (*self.senders, *self.archives) for network in networks)

    def role(self, calling_ae: str, address: str) -> Role:
        """Return what this AE may do from this address."""
        where = _plain(address)
        for role, entries in ((Role.SENDER, self.senders), (Role.ARCHIVE, self.archives)):
            if any(calling_ae.strip() == ae_title and any(where in one for one in networks) for ae_title, networks in entries):
                return role
        return Role.NOBODY


def access_of(config: NodeConfig) -> Access:
    """Return the allow-list of a configuration; destinations' host names are looked up once."""
    senders = tuple((one.ae_title.strip(), tuple(ipaddress.ip_network(text, strict=False) for text in one.addresses)) for one in config.peers)
    archives = tuple(
        (one.ae_title.strip(), _addresses(one.host))
        for one in config.destinations
        if one.kind == "dicom" and one.ae_title and one.host and one.commitment
    )
    return Access(ae_title=config.node.ae_title.strip(), senders=senders, archives=archives)


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS settings of the listener: TLS 1.2 or newer, and no client without a certificate.

    Raises
    ------
    NodeError
        A certificate or key cannot be used.

    Source
    ------
    PS3.15 B.9 (BCP 195 profile), with client authentication.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        context.load_verify_locations(tls.authorities)
    except OSError as error:
        raise NodeError(f"the certificates of [tls] cannot be used ({error}): give PEM files of certificate, its key and the authorities") from error
    return context


def _plain(address: str) -> _Address:
    """Return an address, an IPv4 one that came over an IPv6 socket as IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _addresses(host: str) -> tuple[_Network, ...]:
    """Return a host's addresses; none if its name cannot be resolved, for then nobody can prove to be it."""
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(ipaddress.ip_network(str(entry[4][0]).partition("%")[0]) for entry in entries)
