"""The first words of a call: what is asked for again, and which answers are refused."""

import pytest

from antiphon.errors import PreconditionError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.handshake import Opening, check_opened
from tests.support.servers import CODEC
from tools.harness.stub_runner import SPEC

SHA256 = b"\x01" * 32


def test_a_session_that_goes_on_asks_for_the_adapter_that_it_began_with() -> None:
    first = Opening(CODEC, 3, adapter="a")
    assert (first.request(None, b"").open.adapter, first.request(None, b"").open.adapter_sha256) == ("a", b"")
    opened = pb.Opened(model=SPEC.to_message(), adapter_sha256=SHA256)
    later = first.settled(opened).request(None, b"token").open
    assert (later.adapter, later.adapter_sha256) == ("a", SHA256)


def test_a_worker_that_runs_its_model_without_the_adapter_is_refused() -> None:
    """One of an earlier version does not know the field."""
    with pytest.raises(PreconditionError, match="worker at here does not run its model with the adapter 'a'"):
        check_opened(pb.Opened(), pb.Open(adapter="a"), "here")


def test_a_worker_that_begins_without_the_persona_is_refused() -> None:
    """One of an earlier version does not know the field, and would talk as somebody else."""
    with pytest.raises(PreconditionError, match="worker at here is of an earlier version and takes neither voice nor"):
        check_opened(pb.Opened(), pb.Open(prompt=pb.Prompt(text="You are kind")), "here")


def test_a_prompt_without_anything_in_it_is_nothing_that_a_worker_could_miss() -> None:
    opened = pb.Opened(model=SPEC.to_message(), limits=pb.Limits(max_frames_in_flight=1))
    check_opened(opened, pb.Open(prompt=pb.Prompt(text=" \n")), "here")
