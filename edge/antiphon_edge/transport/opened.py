"""What a worker says when it opens a session, believed only as far as it can be true."""

from __future__ import annotations

from antiphon.errors import PreconditionError, ProtocolError, SequenceError
from antiphon.spec import Limits, ModelSpec, shown
from antiphon.v1 import dialogue_pb2 as pb


def check_opened(opened: pb.Opened, first_step: int, address: str) -> None:
    """Returns where a session can be held with what the worker announced.

    Args:
        opened: what it announced.
        first_step: the number of the first frame that it was asked for.
        address: of the worker, for the message.

    Raises:
        SequenceError: it begins at another frame.
        ProtocolError: a figure that no worker can mean; the message names it.
    """
    if opened.step_offset != first_step:
        raise SequenceError(
            f"the worker at {address} goes on at frame {opened.step_offset} where {first_step} comes next: "
            "connect to another worker"
        )
    try:
        ModelSpec.from_message(opened.model), Limits.from_message(opened.limits)
    except ProtocolError as error:
        raise ProtocolError(f"the worker at {address} announces {error}: connect to another worker") from error


def check_same_model(model: ModelSpec, opened: pb.Opened, address: str) -> None:
    """Returns where a call that goes on with a session speaks of the model that the session began with.

    Raises:
        PreconditionError: its tokens would mean something else.
    """
    if opened.model.fingerprint != model.fingerprint:
        raise PreconditionError(
            f"the worker at {address} goes on with another model ({shown(opened.model.fingerprint)}, it was "
            f"{shown(model.fingerprint)}): open a new session"
        )
