"""Keeps a worker pod's deletion cost at its number of sessions, so that scaling down takes the emptiest worker first.

Runs beside the worker in its pod, with the standard library alone. Kubernetes is told only when the number has changed,
and at most every 30 seconds.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import sys
import time
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

logger = logging.getLogger("deletion_cost")

METRICS = "http://127.0.0.1:9464/metrics"
API = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EVERY_S = 30.0
TIMEOUT_S = 5.0


def _open(
    request: str | urllib.request.Request, context: ssl.SSLContext | None = None
) -> AbstractContextManager[IO[bytes]]:
    """Directly, whatever http_proxy says: both addresses are at home, and the token is nobody else's."""
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    answer: AbstractContextManager[IO[bytes]] = urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S)
    return answer


def sessions(metrics: str) -> int:
    """The worker's sessions now.

    Raises:
        OSError: the worker does not answer.
        ValueError: its metrics do not tell.
    """
    with _open(metrics) as response:
        for line in response.read().decode().splitlines():
            if line.startswith("antiphon_sessions "):
                return int(float(line.split()[1]))
    raise ValueError(f"{metrics} has no antiphon_sessions")


def annotate(api: str, account: Path, namespace: str, pod: str, cost: int) -> None:
    """Sets the annotation on the pod.

    Raises:
        OSError: Kubernetes does not answer, or refuses.
    """
    patch = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": str(cost)}}}
    request = urllib.request.Request(  # noqa: S310 - an address of this file
        f"{api}/api/v1/namespaces/{namespace}/pods/{pod}",
        method="PATCH",
        data=json.dumps(patch).encode(),
        headers={
            "Authorization": f"Bearer {(account / 'token').read_text()}",  # read anew: Kubernetes renews it
            "Content-Type": "application/merge-patch+json",
        },
    )
    authority = account / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority)) if authority.exists() else None
    with _open(request, context):
        pass


def main() -> None:
    """Runs until SIGTERM."""
    # The first process of a container is not ended by a signal that it does not handle: it would hold its pod until
    # Kubernetes kills it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload of the worker's, which has nothing to say here
    namespace, pod = os.environ["POD_NAMESPACE"], os.environ["POD_NAME"]
    told: int | None = None
    while True:
        try:
            if (now := sessions(METRICS)) != told:
                annotate(API, ACCOUNT, namespace, pod, now)
                told = now
        except (OSError, ValueError) as error:
            logger.warning("%s; trying again in %g s", error, EVERY_S)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
