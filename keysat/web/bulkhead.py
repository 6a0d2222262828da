"""Requests that ask a provider have places of their own: however many hang, the others' threads stay free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Depends, Request

from keysat.core.errors import TooBusy

PLACES = 8
WAIT_SECONDS = 2.0
RETRY_SECONDS = 5


class Places:
    """So many requests at once; others wait for a moment, without a thread, and are then refused."""

    def __init__(self, count: int = PLACES) -> None:
        self._free = asyncio.Semaphore(count)

    async def take(self) -> None:
        """Take a place.

        Raises:
            TooBusy: none became free in time.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise TooBusy(RETRY_SECONDS) from None

    def free(self) -> None:
        """Give a place back."""
        self._free.release()


async def provider_place(request: Request) -> AsyncIterator[None]:
    """A dependency: a place among the requests that ask a provider, until this one is answered.

    Raises:
        TooBusy: they all wait for theirs.
    """
    places: Places = request.app.state.provider_places
    await places.take()
    try:
        yield
    finally:
        places.free()


# For the routes of the admin API that ask a provider.
ASKING = [Depends(provider_place)]
