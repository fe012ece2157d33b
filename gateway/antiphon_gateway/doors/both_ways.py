"""A client's two directions, which end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def both_ways(up: Coroutine[Any, Any, None], down: Coroutine[Any, Any, None]) -> None:
    """Runs both until either ends. A client that is gone ends them without an error.

    Args:
        up: what the client sends.
        down: what it is told. Where both fail, its reason counts: the call's own.

    Raises:
        AntiphonError: why it ended.
    """
    tasks = [asyncio.create_task(down), asyncio.create_task(up)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    except ConnectionError:
        return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
