"""Translates errors to gRPC statuses, in one place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, NoReturn

import grpc
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from antiphon.errors import CLIENT_LIMIT, AntiphonError, NoFreeSlotError
from antiphon_cloud.errors import RefusedError

logger = logging.getLogger(__name__)

DOMAIN = "antiphon"
NO_RETRY = ("x-envoy-ratelimited", "true")  # Envoy retries no answer that has it, whatever its policy says

Context = grpc.aio.ServicerContext[Any, Any]


async def abort(context: Context, error: AntiphonError) -> NoReturn:
    """Ends the call with the error's status; a full worker says when to retry.

    The details are always sent: they tell the edge that the worker ended the call, not the network.
    """
    retry_ms = round(error.retry_after_s * 1000) if isinstance(error, NoFreeSlotError) else None
    status = _status(error.status, str(error), retry_ms, isinstance(error, RefusedError) and error.everywhere)
    try:
        await context.abort(status.code, status.details, status.trailing_metadata)
    except grpc.aio.InternalError:
        # The client is gone, or its window has been shut since before the status. So cancel the call too.
        raise asyncio.CancelledError from None
    raise AssertionError("abort always raises")


@lru_cache(maxsize=64)  # a flood gets the same refusal
def _status(code: str, message: str, retry_ms: int | None, everywhere: bool = False) -> Any:
    """The status with its details, in gRPC's form. `everywhere`: neither the edge nor Envoy asks another worker."""
    rich = status_pb2.Status(code=code_pb2.Code.Value(code), message=message)
    if retry_ms is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(retry_ms)
        rich.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if not everywhere:
        return rpc_status.to_status(rich)
    rich.details.add().Pack(error_details_pb2.ErrorInfo(reason=CLIENT_LIMIT, domain=DOMAIN))
    status = rpc_status.to_status(rich)
    return status._replace(trailing_metadata=(*status.trailing_metadata, NO_RETRY))


@asynccontextmanager
async def statuses(context: Context) -> AsyncIterator[None]:
    """Turns the block's errors into statuses."""
    try:
        yield
    except AntiphonError as error:
        await abort(context, error)
    except grpc.aio.InternalError:
        # A write to a vanished edge.
        logger.debug("the edge vanished amid a write", exc_info=True)
