"""Takes pictures of the gateway's page while the number clerk talks in it: idle, talking, reconnecting, phone, dark.

    python -m tools.demo.screenshots OUT_DIR

Needs Chromium (tools/setup/install_browser.sh) and the page (make page). Each picture is a PNG of 10 to 30 kB.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import soundfile
from PIL import Image

from tools.demo.__main__ import PERSON
from tools.harness.browser import Visit, browser, visit
from tools.harness.worker_process import GATEWAY, start, worker

SCREEN = {"width": 720, "height": 820}
COLOURS = 64  # that a picture has room for: the page has few
PHONE = {"width": 360, "height": 740}


def main(arguments: Sequence[str] | None = None) -> None:
    """Takes all five."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)

    def take(visiting: Visit, name: str) -> None:
        picture = Image.open(io.BytesIO(visiting.page.screenshot())).convert("RGB")
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out / f"{name}.png", optimize=True)
        print(out / f"{name}.png")

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        wav = Path(folder) / "said.wav"
        samples, rate_hz = soundfile.read(PERSON, dtype="float32")
        soundfile.write(wav, samples, rate_hz, subtype="PCM_16")
        clerk = stack.enter_context(worker())
        gateway = start("--server", clerk.address, "--cache", folder, program=GATEWAY)
        stack.callback(gateway.end)
        chromium = stack.enter_context(browser(wav))
        contexts: dict[str, dict[str, Any]] = {
            "phone": {"viewport": PHONE, "device_scale_factor": 2},
            "dark": {"viewport": SCREEN, "color_scheme": "dark"},
        }
        for name, context in contexts.items():
            with visit(chromium, gateway.address, **context) as visiting:
                visiting.talk()
                visiting.reads("you said")
                take(visiting, name)
        with visit(chromium, gateway.address, viewport=SCREEN) as visiting:
            visiting.reaches("idle")
            take(visiting, "idle")
            visiting.talk()
            visiting.reads("you said")
            take(visiting, "talking")
            gateway.kill()
            visiting.reaches("reconnecting")
            take(visiting, "reconnecting")


if __name__ == "__main__":
    main()
