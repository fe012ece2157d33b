"""The Kubernetes manifests: right by Kubernetes' schemas, and right about the worker and the Envoy that they run."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from antiphon_cloud.cli.commands import commands
from tools import ROOT
from tools.harness.fleet import ENVOY_CONFIG

DEPLOY = ROOT / "cloud/deploy"
VERSIONS = ("1.34", "1.37")
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
MANIFESTS = [
    manifest for name in KUSTOMIZATION["resources"] for manifest in yaml.safe_load_all((DEPLOY / name).read_text())
]


def found(kind: str, name: str) -> dict[str, Any]:
    (manifest,) = [each for each in MANIFESTS if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return dict(manifest)


def worker_pod() -> dict[str, Any]:
    return dict(found("Deployment", "antiphon-worker")["spec"]["template"]["spec"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_every_manifest_fits_the_schema(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_is_strict() -> None:
    wrong = found("Deployment", "antiphon-worker")
    wrong = {**wrong, "spec": {**wrong["spec"], "replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_file_that_the_kustomization_names_is_there() -> None:
    named = [
        *KUSTOMIZATION["resources"],
        *(file for maps in KUSTOMIZATION["configMapGenerator"] for file in maps["files"]),
    ]
    assert [name for name in named if not (DEPLOY / name).is_file()] == []
    mounted = {volume["configMap"]["name"] for volume in worker_pod()["volumes"] if "configMap" in volume}
    envoy = found("Deployment", "antiphon-envoy")["spec"]["template"]["spec"]
    mounted |= {volume["configMap"]["name"] for volume in envoy["volumes"]}
    assert mounted == {maps["name"] for maps in KUSTOMIZATION["configMapGenerator"]}


def test_the_worker_has_every_flag_that_it_is_started_with() -> None:
    program, command, *flags = worker_pod()["containers"][0]["args"]
    assert (program, command) == ("antiphon-cloud", "serve")
    known = CliRunner().invoke(commands, ["serve", "--help"]).output
    assert [flag for flag in flags if f"{flag.partition('=')[0]} " not in known] == []


def test_a_draining_worker_gets_the_time_that_it_asks_for() -> None:
    pod = worker_pod()
    (drain,) = [flag for flag in pod["containers"][0]["args"] if flag.startswith("--drain=")]
    assert pod["terminationGracePeriodSeconds"] > float(drain.partition("=")[2])


def test_envoy_finds_the_workers_where_the_service_says() -> None:
    service = found("Service", "antiphon-workers")
    cluster = yaml.safe_load(ENVOY_CONFIG.read_text())["static_resources"]["clusters"][0]
    (host,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = host["endpoint"]["address"]["socket_address"]
    assert address == {"address": service["metadata"]["name"], "port_value": service["spec"]["ports"][0]["port"]}


def test_scaling_counts_what_the_worker_exposes() -> None:
    from antiphon_cloud import metrics

    adapter = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.yaml").read_text())["rules"]["custom"][0]
    (scaled,) = found("HorizontalPodAutoscaler", "antiphon-worker")["spec"]["metrics"]
    assert scaled["pods"]["metric"]["name"] == adapter["name"]["as"]
    source = Path(metrics.__file__).read_text()
    assert '"sessions"' in source
    assert '"slots"' in source


class Cluster(http.server.BaseHTTPRequestHandler):
    """The worker's metrics and Kubernetes' API on one port."""

    patches: ClassVar[list[tuple[str, str, Any]]] = []

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"# TYPE antiphon_sessions gauge\nantiphon_sessions 5.0\nantiphon_slots 8.0\n")

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.patches.append((self.path, self.headers["Authorization"], body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def cluster() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Cluster)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_deletion_cost_is_the_number_of_sessions(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("deletion_cost", DEPLOY / "kubernetes/deletion_cost.py")
    assert spec is not None
    assert spec.loader is not None
    deletion_cost = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(deletion_cost)
    (tmp_path / "token").write_text("secret")
    with cluster() as address:
        now = deletion_cost.sessions(f"{address}/metrics")
        deletion_cost.annotate(address, tmp_path, "antiphon", "worker-1", now)
    assert Cluster.patches == [
        (
            "/api/v1/namespaces/antiphon/pods/worker-1",
            "Bearer secret",
            {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "5"}}},
        )
    ]


def test_the_sidecar_ends_on_sigterm_even_as_the_first_process_of_its_container(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    # What the kernel does for such a process is to leave out signals that are not handled.
    first = f"""
import pathlib, signal, sys, time
sys.path.insert(0, {str(DEPLOY / "kubernetes")!r})
signal.signal(signal.SIGTERM, signal.SIG_IGN)
import deletion_cost
deletion_cost.sessions = lambda metrics: (pathlib.Path({str(ready)!r}).touch(), time.sleep(600))
deletion_cost.main()
"""
    environment = os.environ | {"POD_NAME": "worker-1", "POD_NAMESPACE": "antiphon"}
    with subprocess.Popen([sys.executable, "-c", first], env=environment) as sidecar:
        deadline_s = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        sidecar.send_signal(signal.SIGHUP)  # would end it before, and with another status
        sidecar.terminate()
        try:
            assert sidecar.wait(30) == 0
        finally:
            sidecar.kill()
