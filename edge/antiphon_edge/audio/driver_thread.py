"""Calls of a sound driver, each in a thread of its own: they take their time, and some never come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 2.0  # for a driver that is cancelled; a sound server that hangs is left to hang


async def in_driver_thread(work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """The result of `work`.

    Cancelled, it waits for the end for `PATIENCE_S` and undoes it, whenever it comes. The thread does not keep the
    program from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 -- whoever waits raises it
            _tell(loop, _fail, done, error)
        else:
            if not _tell(loop, _finish, done, result, undo) and undo is not None:
                undo(result)

    threading.Thread(target=run, name="antiphon-driver", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait({done}, timeout=PATIENCE_S)
        if not done.done():
            done.cancel()  # `_finish` undoes it
        elif not done.cancelled() and done.exception() is None and undo is not None:
            undo(done.result())
        raise


def _tell(loop: asyncio.AbstractEventLoop, receive: Callable[..., None], *arguments: object) -> bool:
    with suppress(RuntimeError):  # the loop was closed
        loop.call_soon_threadsafe(receive, *arguments)
        return True
    return False


def _finish(done: asyncio.Future[T], result: T, undo: Callable[[T], None] | None) -> None:
    if not done.cancelled():
        done.set_result(result)
    elif undo is not None:
        undo(result)


def _fail(done: asyncio.Future[T], error: BaseException) -> None:
    if not done.cancelled():
        done.set_exception(error)
