"""The job that fills the model volume: what it fetches, what it does not fetch twice, and whom it tells its token."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tools import ROOT

FETCH = ROOT / "cloud/deploy/kubernetes/model/fetch_model.py"
WEIGHTS = bytes(range(256)) * 400
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "README.md": b"# hello", "model.bin": b"a pickle"}


class Hub(http.server.BaseHTTPRequestHandler):
    """Hugging Face's hub; large files lie at a second address, as they do there."""

    asked: ClassVar[list[tuple[str, str | None, str | None]]] = []
    store: ClassVar[str] = ""
    names: ClassVar[list[str]] = list(FILES)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append((path, self.headers["Authorization"], self.headers["Range"]))
        name = path.rpartition("/")[2]
        if path.startswith("/api/models/kyutai/tiny/revision/"):
            self.answer(
                200, json.dumps({"sha": "c0ffee", "siblings": [self.told(each) for each in self.names]}).encode()
            )
        elif path == "/kyutai/tiny/resolve/c0ffee/model.safetensors":
            self.send_response(302)
            self.send_header("Location", f"{self.store}/model.safetensors")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.answer(206, FILES[name][start:])
        elif name in FILES:
            self.answer(200, FILES[name])
        else:
            self.answer(404, b"")

    def told(self, name: str) -> dict[str, Any]:
        file = {"rfilename": name, "size": len(FILES.get(name, b""))}
        if name == "model.safetensors":
            file["lfs"] = {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS)}
        return file

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def hub(names: list[str] | None = None) -> Iterator[type[Hub]]:
    class Own(Hub):
        asked: ClassVar[list[tuple[str, str | None, str | None]]] = []

    Own.names = names or list(FILES)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Own.store = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Own
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetched(served: type[Hub], folder: Path) -> subprocess.CompletedProcess[str]:
    told = {"REPOSITORY": "kyutai/tiny", "REVISION": "main", "HF_TOKEN": "secret", "HF_ENDPOINT": served.store}
    return subprocess.run(
        [sys.executable, FETCH, folder], env=os.environ | told, capture_output=True, text=True, timeout=120, check=False
    )


def test_what_a_worker_reads_is_fetched_and_nothing_else(tmp_path: Path) -> None:
    with hub() as served:
        done = fetched(served, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: FILES[name] for name in ("config.json", "model.safetensors")
    }


def test_the_token_is_told_to_the_hub_and_not_to_whom_it_sends_on(tmp_path: Path) -> None:
    with hub() as served:
        fetched(served, tmp_path)
    tokens = {path: token for path, token, _ in served.asked}
    assert tokens["/kyutai/tiny/resolve/c0ffee/model.safetensors"] == "Bearer secret"
    assert tokens["/model.safetensors"] is None


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    with hub() as served:
        fetched(served, tmp_path)
        served.asked.clear()
        done = fetched(served, tmp_path)
    assert done.returncode == 0
    assert [path for path, _, _ in served.asked] == ["/api/models/kyutai/tiny/revision/main"]


def test_what_came_half_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / ".model.safetensors.part").write_bytes(WEIGHTS[:1000])
    with hub() as served:
        fetched(served, tmp_path)
    assert ("/model.safetensors", None, "bytes=1000-") in served.asked
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS


def test_what_came_damaged_is_no_model_and_comes_anew(tmp_path: Path) -> None:
    (tmp_path / ".model.safetensors.part").write_bytes(b"something else" + WEIGHTS[14:1000])
    with hub() as served:
        done = fetched(served, tmp_path)
        assert done.returncode == 1
        assert "came damaged or cut off" in done.stderr.splitlines()[-1]
        assert not (tmp_path / "model.safetensors").exists()
        assert fetched(served, tmp_path).returncode == 0


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with hub(["../evil.json"]) as served:
        done = fetched(served, tmp_path / "model")
    assert done.returncode == 1
    assert done.stderr == "fetch_model: the hub names a file outside of the model: '../evil.json'\n"
