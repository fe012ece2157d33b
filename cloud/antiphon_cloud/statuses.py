"""From errors to gRPC statuses, in one place."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from antiphon.errors import AntiphonError, NoFreeSlotError

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


async def abort(context: Context, error: AntiphonError) -> NoReturn:
    """Ends the call with the status that `error` stands for; a full worker says when to come back.

    The details go along in any case: they tell the edge that the worker itself said so, and not the network.
    """
    details: tuple[any_pb2.Any, ...] = ()
    if isinstance(error, NoFreeSlotError):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details = (any_pb2.Any(),)
        details[0].Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    rich = status_pb2.Status(code=code_pb2.Code.Value(error.status), message=str(error), details=details)
    status = rpc_status.to_status(rich)
    await context.abort(status.code, status.details, status.trailing_metadata)


@asynccontextmanager
async def statuses(context: Context) -> AsyncIterator[None]:
    """The one place where errors become statuses."""
    try:
        yield
    except AntiphonError as error:
        await abort(context, error)
    except grpc.aio.InternalError:
        # A write to an edge that has vanished: nobody is left to tell.
        logger.debug("the edge vanished amid a write", exc_info=True)
