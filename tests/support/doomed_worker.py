"""`antiphon-cloud serve` over a model that is arithmetic, and a device that fails for good at a frame with code `AT`.

python -m tests.support.doomed_worker --listen 127.0.0.1:0
"""

from __future__ import annotations

import sys

from antiphon.spec import Limits
from antiphon_cloud.cli.commands import main
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.host import StepperProcess
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.server.worker import ServedModel
from antiphon_cloud.serving import load as serving
from tests.support.servers import CODEC

AT = 22  # first said at step 5 of `tests.support.conversations.said`


def load(config: object, metrics: Metrics) -> ServedModel:
    """What is served in place of a model directory."""
    stepper = StepperProcess("tests.support.loaders:lose_the_device", {"at": AT})
    return ServedModel(Engine(stepper, metrics=metrics), CodecFolder(CODEC, ()), lambda token: b"", Limits(4))


if __name__ == "__main__":
    serving.load = load
    sys.argv[1:1] = ["serve"]
    main()
