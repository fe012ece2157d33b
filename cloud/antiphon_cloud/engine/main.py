"""The stepper's process: loads a model, then steps it until its socket is closed or the device fails for good.

    python -m antiphon_cloud.engine.main FD

`engine.host.StepperProcess` starts it.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import select
import socket
import sys
import threading
import time

from antiphon import logs
from antiphon.errors import AntiphonError
from antiphon_cloud.engine.messages import Failed, Load, Loaded
from antiphon_cloud.engine.stepper import Socket, Stepper

logger = logging.getLogger(__name__)

GRACE_S = 0.1  # from the closing of the socket to the end, also amid a step


def main() -> None:
    """Serves the socket whose number is the one argument."""
    raw = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=_end_with_the_other_end, args=(raw.fileno(),), name="hangup", daemon=True).start()
    connection = Socket(raw)
    first = connection.receive(wait=True)
    if first is None:
        return
    (load,) = first
    assert isinstance(load, Load), "it comes first"
    logs.configure(load.log_level, load.log_format)
    logs.set_name(load.log_name)
    module, _, function = load.loader.partition(":")
    try:
        runner, facts = getattr(importlib.import_module(module), function)(load.arguments)
    except AntiphonError as error:
        connection.send(Failed(None, str(error)))
        return
    except Exception as error:  # a bug of ours: the worker ends with it
        logger.exception("loading failed")
        connection.send(Failed(None, f"the model could not be loaded: {error!r}"))
        return
    # Torch and the model are hundreds of thousands of objects that stay: looking through them for garbage would hold up
    # every session for as long as several frames last.
    gc.collect()
    gc.freeze()
    connection.send(Loaded(facts))
    if not Stepper(runner, connection).run():
        os._exit(1)  # what tears down its objects would ask the device


def _end_with_the_other_end(fd: int) -> None:
    """Ends the process once the other end of the socket is closed, also amid a step or a loading."""
    poll = select.poll()
    poll.register(fd, 0)  # hang-ups are reported in any case
    poll.poll()
    time.sleep(GRACE_S)
    os._exit(0)


if __name__ == "__main__":
    main()
