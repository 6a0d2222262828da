"""Limit of concurrent requests that call a provider, so that hanging ones don't use up all threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Depends, Request

from keysat.core.errors import TooBusy

PLACES = 8
WAIT_SECONDS = 2.0
RETRY_SECONDS = 5


class Places:
    """Limits concurrent requests to `count`. Others wait briefly, without a thread, and are then refused."""

    def __init__(self, count: int = PLACES) -> None:
        self._free = asyncio.Semaphore(count)

    async def take(self) -> None:
        """Take a place.

        Raises:
            TooBusy: No place became free in time.
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
    """Dependency that reserves a place for a request that calls a provider until the response is sent.

    Raises:
        TooBusy: No place became free in time.
    """
    places: Places = request.app.state.provider_places
    await places.take()
    try:
        yield
    finally:
        places.free()


# Dependencies of admin API routes that call a provider.
ASKING = [Depends(provider_place)]
