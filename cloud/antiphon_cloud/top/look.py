"""Asks workers how they are, all at once."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException

from antiphon.address import join_address, split_address
from antiphon.errors import AntiphonError
from antiphon.serving.status import Status, decode

TIMEOUT_S = 2.0
MOST_BYTES = 1 << 16
AT_ONCE = 64  # workers that are asked at the same time
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # workers are no web sites
DNS = "dns:"


@dataclass(frozen=True, slots=True)
class Look:
    """What one address answered.

    Args:
        address: HOST:PORT of its operators' port.
        status: how it is; None where it did not say.
        problem: why not.
        late_share: of its frames since the last look, or since its start; 0 where there was none.
    """

    address: str
    status: Status | None
    problem: str = ""
    late_share: float = 0.0


class Watcher:
    """Looks at workers again and again, and knows what was before.

    Args:
        addresses: HOST:PORT each; `dns:HOST:PORT` stands for all that the name has now.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._before: dict[str, Status] = {}

    def look(self) -> list[Look]:
        """How all are; a name that is not known is there with what the look-up says."""
        addresses: dict[str, None] = {}
        unknown: list[Look] = []
        for given in self._addresses:
            try:
                addresses |= dict.fromkeys(resolved(given))
            except AntiphonError as error:  # as in the middle of a rollout
                unknown.append(Look(given, None, str(error)))
        with ThreadPoolExecutor(min(len(addresses) or 1, AT_ONCE)) as threads:
            looks = [*threads.map(self._one, addresses), *unknown]
        self._before = {look.address: look.status for look in looks if look.status is not None}
        return looks

    def _one(self, address: str) -> Look:
        try:
            with DIRECTLY.open(f"http://{address}/status.json", timeout=TIMEOUT_S) as answer:
                status = decode(answer.read(MOST_BYTES))
        except HTTPException:
            return Look(address, None, "no HTTP is spoken there: is it a worker's --metrics-listen?")
        except OSError as error:  # urllib's are OSErrors, too
            reason = getattr(error, "reason", error)
            return Look(address, None, str(getattr(reason, "strerror", None) or reason))
        except ValueError:
            return Look(address, None, "no status is there: is it a worker's --metrics-listen?")
        return Look(address, status, late_share=_late_share(status, self._before.get(address)))


def resolved(address: str) -> list[str]:
    """The address, or all that a name has.

    Raises:
        AntiphonError: the name is not known.
    """
    if not address.startswith(DNS):
        return [address]
    host, port = split_address(address.removeprefix(DNS))
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AntiphonError(f"{host}: the name is not known ({error.strerror or error})") from None
    return sorted({join_address(str(entry[4][0]), port) for entry in found})


def _late_share(now: Status, before: Status | None) -> float:
    if before is None or now.frames < before.frames:  # it was started again
        frames, late = now.frames, now.late
    else:
        frames, late = now.frames - before.frames, now.late - before.late
    return late / frames if frames else 0.0
