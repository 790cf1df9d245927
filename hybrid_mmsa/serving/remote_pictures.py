"""Pictures by their addresses, from hosts that whoever runs the server has named. Knows nothing of posts.

A server that fetches what its clients name can be led where they cannot go (server-side request forgery). So: named
hosts alone; the name is resolved once, every address must be one of the public internet, and the connection goes to the
address that was looked at; nothing is followed elsewhere; bytes and time are bounded.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import ssl
import urllib.request
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import SplitResult, urlsplit

from ..bounds.exchange import Bounds, exchange, fetched
from ..errors import InputError
from .problems import Problem

__all__ = ["PictureAddress", "RemotePictures"]

HEAD = 1 << 16
"""Bytes that an answer may have beside the picture."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class PictureAddress:
    """Where a post's picture is, in place of the picture; see `RemotePictures`."""

    url: str


class RemotePictures:
    """Fetches pictures of named hosts.

    Args:
        origins: The hosts, as `https://images.example.org`, with a port where it is not the usual one. None for none.
        most: Bytes of one picture.
        seconds: How long one may take, from its name to its last byte.

    Raises:
        InputError: An origin is none.
    """

    def __init__(self, origins: Collection[str], *, most: int, seconds: float) -> None:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                wanted = "scheme and host, as https://images.example.org"
                raise InputError(f"found {origin!r}; wanted {wanted}", field="picture_origins")
        self._origins = frozenset(_origin(urlsplit(origin)) for origin in origins)
        self._most, self._seconds = most, seconds

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when it is first wanted: it reads all certificates of this machine, and most servers fetch nothing."""
        return ssl.create_default_context()

    @staticmethod
    def is_address(written: str) -> bool:
        """Whether a string is the address of something rather than the thing."""
        return _URL.match(written) is not None

    def address(self, url: str) -> PictureAddress:
        """The address, if its host is one of those named.

        Raises:
            Problem: `picture_url_refused`.
        """
        if not self._origins:
            raise _refused("found the address of a picture; send the picture itself: nothing is fetched")
        try:
            parts = urlsplit(url)
            allowed = _origin(parts) in self._origins
        except ValueError:
            raise _refused("found an address that cannot be read") from None
        if not allowed or parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
            raise _refused("found the address of a picture on a host that this server does not fetch from")
        return PictureAddress(url)

    def fetch(self, address: PictureAddress) -> bytes:
        """The bytes behind an address.

        Raises:
            Problem: `picture_url_refused`, where the host's address is not one of the public internet;
                `picture_not_fetched`, where the picture does not come, not whole, or not in time.
        """
        bounds = Bounds(self._seconds, self._most + HEAD, check=_check_public)
        request = urllib.request.Request(address.url, headers={"Accept": "image/*", "User-Agent": "hybrid-mmsa"})
        try:
            with exchange(request, bounds, tls=self._tls, follow=False) as answer:
                if answer.status != http.client.OK:
                    raise _not_fetched(f"its host answered with status {answer.status}, and nothing else is followed")
                picture = fetched(answer)
        except TimeoutError:
            raise _not_fetched(f"its host did not send it within {self._seconds:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise _not_fetched(f"its host could not be asked ({type(error).__name__})") from None
        if len(picture) > self._most:
            raise _not_fetched(f"it has more than {self._most:,} bytes")
        return picture


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port, in one spelling."""
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(scheme, 0)


def _is_public(address: str) -> bool:
    """Whether an address belongs to the public internet; one that carries an IPv4 address is judged by that."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return found.is_global and not found.is_multicast


def _check_public(addresses: Sequence[str]) -> None:
    if not addresses or not all(map(_is_public, addresses)):
        raise _refused("found the address of a picture on a host that is not of the public internet")


def _refused(detail: str) -> Problem:
    return Problem("picture_url_refused", detail, field="image")


def _not_fetched(detail: str) -> Problem:
    return Problem("picture_not_fetched", f"found the address of a picture; {detail}", field="image")
