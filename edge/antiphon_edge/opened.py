"""What a worker says when it opens a session, believed only as far as it can be true."""

from __future__ import annotations

from antiphon.errors import ProtocolError, SequenceError
from antiphon.spec import Limits, ModelSpec
from antiphon.v1 import dialogue_pb2 as pb

# (field, least, most): far beyond every model there is, and small enough that nothing here grows without end.
MODEL_BOUNDS = (
    ("user_codebooks", 1, 128),
    ("model_codebooks", 0, 128),
    ("cardinality", 2, 1 << 16),
    ("text_cardinality", 2, 1 << 24),
    ("delay_steps", 0, 10_000),
    ("context_steps", 1, 1_000_000),
)
LIMIT_BOUNDS = (("max_frames_in_flight", 1, 1 << 16), ("history_steps", 0, 1_000_000))


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
    model, limits = ModelSpec.from_message(opened.model), Limits.from_message(opened.limits)
    bounds = [("model", model, *bound) for bound in MODEL_BOUNDS] + [("limits", limits, *each) for each in LIMIT_BOUNDS]
    for message, spec, field, least, most in bounds:
        if not least <= (value := getattr(spec, field)) <= most:
            raise ProtocolError(
                f"the worker at {address} announces {message}.{field} {value}, which must be {least} to {most}: "
                "connect to another worker"
            )


def check_same_model(model: ModelSpec, opened: pb.Opened, address: str) -> None:
    """Returns where a call that goes on with a session speaks of the model that the session began with.

    Raises:
        ProtocolError: its frames would mean something else.
    """
    other = ModelSpec.from_message(opened.model)
    for field, _, _ in MODEL_BOUNDS[:5]:
        if (now := getattr(other, field)) != (before := getattr(model, field)):
            raise ProtocolError(
                f"the worker at {address} goes on with another model (model.{field} {now}, it was {before}): "
                "open a new session"
            )
