"""The first words of a call: what the edge asks for, and how much of the worker's answer is believed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from antiphon.errors import PreconditionError, ProtocolError, SequenceError
from antiphon.history import History
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling, shown
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials


@dataclass(frozen=True, slots=True)
class Opening:
    """What every call of a session says first."""

    codec: CodecSpec
    seed: int
    sampling: Sampling | None = None  # None: the model's own
    mode: pb.Mode = pb.MODE_UNSPECIFIED
    timings: bool = False
    credentials: Credentials = PLAINTEXT
    prompt: pb.Prompt | None = None  # None: what the model begins with by itself
    conditions: Mapping[str, str] = field(default_factory=dict)
    adapter: str = ""  # that the model is run with; none where empty
    adapter_sha256: bytes = b""  # of that one, once the session has begun
    conversation: str = field(default_factory=lambda: secrets.token_hex(16))  # its name in workers' logs

    def settled(self, opened: pb.Opened) -> Opening:
        """The same for the calls after the first: with the sampling that the model chose, where none was asked for, and
        the hashes of what the session began with. A worker that the session moves to may have others."""
        prompt = self.prompt
        if opened.prompt_sha256:
            prompt = pb.Prompt(sha256=opened.prompt_sha256)
            prompt.MergeFrom(self.prompt or pb.Prompt())
        sampling = self.sampling or ModelSpec.from_message(opened.model).sampling
        return replace(self, sampling=sampling, prompt=prompt, adapter_sha256=opened.adapter_sha256)

    def request(self, history: History | None, resume_token: bytes) -> pb.ConverseRequest:
        """The message; a history makes it a session that goes on."""
        message = pb.Open(
            codec_fingerprint=self.codec.fingerprint,
            mode=self.mode,
            seed=self.seed,
            timings=self.timings,
            resume_token=resume_token,
            conditions=self.conditions,
            adapter=self.adapter,
            adapter_sha256=self.adapter_sha256,
            conversation=self.conversation,
        )
        if self.sampling is not None:
            message.sampling.CopyFrom(self.sampling.to_message())
        if self.prompt is not None:
            message.prompt.CopyFrom(self.prompt)
        if history is not None:
            message.history.CopyFrom(history.to_message())
            if len(history.script):
                message.script.CopyFrom(history.script.to_message(history.steps))
        return pb.ConverseRequest(open=message)


def check_opened(opened: pb.Opened, request: pb.Open, address: str) -> None:
    """Returns where a session can be held with what the worker announced.

    Args:
        opened: what it announced.
        request: what it was asked for.
        address: of the worker, for the message.

    Raises:
        SequenceError: it begins at another frame.
        PreconditionError: it runs the model without the adapter, or has begun without the prompt.
        ProtocolError: a figure that no worker can mean; the message names it.
    """
    first_step = request.history.steps
    if opened.step_offset != first_step:
        raise SequenceError(
            f"the worker at {address} goes on at frame {opened.step_offset} where {first_step} comes next: "
            "connect to another worker"
        )
    if bool(opened.adapter_sha256) != bool(request.adapter):  # a worker of an earlier version knows of none
        raise PreconditionError(
            f"the worker at {address} does not run its model with the adapter {request.adapter!r}: connect to another "
            "worker"
        )
    prompt = request.prompt
    asked = prompt.voices or prompt.voice_codes or prompt.text.strip() or prompt.sha256
    if asked and not opened.prompt_sha256:
        raise PreconditionError(
            f"the worker at {address} is of an earlier version and takes neither voice nor persona: connect to another "
            "worker"
        )
    try:
        ModelSpec.from_message(opened.model), Limits.from_message(opened.limits)
    except ProtocolError as error:
        raise ProtocolError(f"the worker at {address} announces {error}: connect to another worker") from error


def check_same_model(before: pb.ModelSpec, now: pb.ModelSpec, address: str) -> None:
    """Returns where a call that goes on with a session speaks of the model that the session began with.

    Raises:
        PreconditionError: its tokens would mean something else.
    """
    if now.fingerprint != before.fingerprint:
        raise PreconditionError(
            f"the worker at {address} goes on with another model ({shown(now.fingerprint)}, it was "
            f"{shown(before.fingerprint)}): open a new session"
        )
