"""Every error has one status, and a status comes back as the error it stands for."""

import grpc
import pytest

from antiphon import errors


def every_error() -> list[type[errors.AntiphonError]]:
    found, todo = [], [errors.AntiphonError]
    while todo:
        found.append(error := todo.pop())
        todo += [sub for sub in error.__subclasses__() if sub.__module__ == "antiphon.errors"]
    return found


@pytest.mark.parametrize("error", every_error())
def test_every_error_names_a_grpc_status(error: type[errors.AntiphonError]) -> None:
    assert error.status in grpc.StatusCode.__members__


@pytest.mark.parametrize("error", every_error())
def test_a_status_comes_back_as_its_error(error: type[errors.AntiphonError]) -> None:
    back = errors.from_status(error.status, "what, where, what to do", retry_after_s=1.0)
    assert issubclass(error, type(back))
    assert "what, where, what to do" in str(back)


def test_a_full_worker_says_when_to_come_back() -> None:
    back = errors.from_status("RESOURCE_EXHAUSTED", "full", retry_after_s=2.5)
    assert isinstance(back, errors.NoFreeSlotError)
    assert back.retry_after_s == 2.5


def test_a_message_above_grpcs_limit_is_not_a_full_worker() -> None:
    assert isinstance(errors.from_status("RESOURCE_EXHAUSTED", "larger than max"), errors.ProtocolError)


def test_an_unknown_status_keeps_its_name() -> None:
    assert str(errors.from_status("DATA_LOSS", "gone")) == "gone (DATA_LOSS)"
