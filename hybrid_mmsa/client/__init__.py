"""A client of a `hybrid-mmsa serve` server: the same questions and the same typed answers as in process.

`Client` waits, `AsyncClient` is awaited. Needs the extra `client`. Nothing is sent anywhere but to the address that is
named; proxies of the environment are not used.
"""

from __future__ import annotations

from .clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
