"""The Kubernetes manifests: right by Kubernetes' schemas, and right about the worker and the Envoy that they run."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import kubernetes_validate
import pytest
import yaml

from antiphon_cloud.cli.commands import commands as cloud
from antiphon_gateway.cli.commands import commands as gateway
from tests.support.certificates import issue
from tools import ROOT
from tools.harness.fleet import ENVOY_CONFIG
from tools.harness.worker_process import BIN
from tools.setup.deploy_files import made

DEPLOY = ROOT / "cloud/deploy"
VERSIONS = ("1.34", "1.37")
OPERATORS_KINDS = {"PodMonitor", "PrometheusRule"}  # the Prometheus operator's: no schema of Kubernetes' own


@cache
def rendered(name: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send for a folder of cloud/deploy; `public` is the CPU's with that component."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "public":
            own = Path(folder).resolve()
            base, component = (os.path.relpath(DEPLOY / "kubernetes" / each, own) for each in ("cpu", name))
            (own / "kustomization.yaml").write_text(f"resources: [{base}]\ncomponents: [{component}]\n")
        else:
            own = DEPLOY / name
        done = subprocess.run([BIN / "kubectl", "kustomize", own], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


FOLDERS = (".", "kubernetes/cpu", "public", "kubernetes/monitoring")
MANIFESTS = [
    pytest.param(each, id=f"{name}-{each['kind']}-{each['metadata']['name']}")
    for name in FOLDERS
    for each in rendered(name)
]
PODS = [
    pytest.param(each["spec"]["template"]["spec"], id=f"{name}-{each['metadata']['name']}")
    for name in FOLDERS
    for each in rendered(name)
    if each["kind"] in ("Deployment", "Job")
]


def found(kind: str, name: str, folder: str = ".") -> dict[str, Any]:
    (manifest,) = [each for each in rendered(folder) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return dict(manifest)


def pod(name: str, folder: str = ".") -> dict[str, Any]:
    return dict(found("Deployment", name, folder)["spec"]["template"]["spec"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS)
def test_every_manifest_fits_the_schema(manifest: dict[str, Any], version: str) -> None:
    if manifest["kind"] in OPERATORS_KINDS:
        assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_is_strict() -> None:
    wrong = found("Deployment", "antiphon-worker")
    wrong = {**wrong, "spec": {**wrong["spec"], "replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_files_that_are_made_of_others_are_what_they_are_made_from() -> None:
    assert {path.name: path.read_text() for path in made()} == {path.name: text for path, text in made().items()}


def test_envoy_takes_the_configuration_with_a_certificate(tmp_path: Path) -> None:
    files = issue(tmp_path)
    settings = (DEPLOY / "kubernetes/public/envoy.yaml").read_text()
    for mounted, own in (("/etc/antiphon-tls/tls.crt", files.certificate), ("/etc/antiphon-tls/tls.key", files.key)):
        assert mounted in settings
        settings = settings.replace(mounted, str(own))
    (tmp_path / "envoy.yaml").write_text(settings)
    validate = ("--mode", "validate", "-c", str(tmp_path / "envoy.yaml"), "--log-level", "warning")
    checked = subprocess.run([BIN / "envoy", *validate], capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, "[warning]" in checked.stderr) == (0, False), checked.stderr


@pytest.mark.parametrize("spec", PODS)
def test_a_pod_runs_as_nobody_on_a_root_that_it_cannot_write(spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("spec", PODS)
def test_what_an_image_writes_to_is_a_volume_of_the_pod(spec: dict[str, Any]) -> None:
    serving = [each for each in spec["containers"] if each["command"][0] in ("antiphon-cloud", "antiphon-gateway")]
    for container in serving:
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable >= {"/var/cache/antiphon", "/tmp"}


@pytest.mark.parametrize("spec", PODS)
def test_what_a_pod_mounts_is_there(spec: dict[str, Any]) -> None:
    of_others = {"antiphon-tls", "antiphon-keys", "antiphon-gateway-key"}  # docs/kubernetes.md makes them
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    for volume in volumes.values():
        if "configMap" in volume:
            assert any(
                (each["kind"], each["metadata"]["name"]) == ("ConfigMap", volume["configMap"]["name"])
                for folder in FOLDERS
                for each in rendered(folder)
            )
        elif "secret" in volume:
            assert volume["secret"]["secretName"] in of_others
        elif "persistentVolumeClaim" in volume:
            found("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])


@pytest.mark.parametrize("folder", [".", "kubernetes/cpu", "public"])
@pytest.mark.parametrize(("name", "commands"), [("worker", cloud), ("gateway", gateway)])
def test_a_server_has_every_flag_that_it_is_started_with(name: str, commands: Any, folder: str) -> None:
    (container,) = pod(f"antiphon-{name}", folder)["containers"]
    *_, command = container["command"]
    known = {flag for parameter in commands.commands[command].params for flag in parameter.opts}
    assert {flag.partition("=")[0] for flag in container["args"]} <= known


@pytest.mark.parametrize("name", ["antiphon-worker", "antiphon-gateway"])
def test_a_draining_server_gets_the_time_that_it_asks_for(name: str) -> None:
    spec = pod(name)
    (container,) = spec["containers"]
    (drain,) = [flag for flag in container["args"] if flag.startswith("--drain=")]
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert spec["terminationGracePeriodSeconds"] > before + float(drain.partition("=")[2])


def test_a_gpu_is_asked_for_where_the_worker_is_told_to_use_one() -> None:
    for folder, has in ((".", True), ("kubernetes/cpu", False)):
        (container,) = pod("antiphon-worker", folder)["containers"]
        assert ("--device=cuda" in container["args"]) is has
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) is has


def test_the_sidecar_is_one_that_ends_after_the_worker() -> None:
    (sidecar,) = pod("antiphon-worker")["initContainers"]
    assert sidecar["restartPolicy"] == "Always"


@pytest.mark.parametrize("name", ["antiphon-worker", "antiphon-envoy", "antiphon-gateway"])
def test_a_node_that_is_emptied_takes_one_pod_at_a_time(name: str) -> None:
    assert found("PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1
    assert found("Deployment", name)["spec"]["replicas"] > 1


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_a_pod_is_let_in_and_out_by_a_policy_of_its_own(kind: str) -> None:
    every = [each["spec"]["podSelector"] for each in rendered(".") if each["kind"] == "NetworkPolicy"]
    assert {} in every  # nobody, but for:
    for each in rendered("."):
        if each["kind"] == kind:
            assert {"matchLabels": each["spec"]["template"]["metadata"]["labels"]} in every


def test_envoy_finds_the_workers_where_the_service_says() -> None:
    service = found("Service", "antiphon-workers")
    cluster = yaml.safe_load(ENVOY_CONFIG.read_text())["static_resources"]["clusters"][0]
    (host,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = host["endpoint"]["address"]["socket_address"]
    assert address == {"address": service["metadata"]["name"], "port_value": service["spec"]["ports"][0]["port"]}


def test_the_gateway_asks_where_envoys_service_is() -> None:
    service = found("Service", "antiphon")
    (container,) = pod("antiphon-gateway")["containers"]
    assert f"--server={service['metadata']['name']}:{service['spec']['ports'][0]['port']}" in container["args"]


def test_scaling_counts_what_the_worker_exposes() -> None:
    from antiphon_cloud import metrics

    adapter = yaml.safe_load((DEPLOY / "kubernetes/monitoring/prometheus-adapter.yaml").read_text())["rules"]["custom"][
        0
    ]
    (scaled,) = found("HorizontalPodAutoscaler", "antiphon-worker")["spec"]["metrics"]
    assert scaled["pods"]["metric"]["name"] == adapter["name"]["as"]
    source = Path(metrics.__file__).read_text()
    assert '"sessions"' in source
    assert '"slots"' in source


def test_the_jobs_of_the_pods_are_those_of_the_alerts() -> None:
    jobs = {
        monitor["spec"]["selector"]["matchLabels"]["app"]: monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0]
        for monitor in rendered("kubernetes/monitoring")
        if monitor["kind"] == "PodMonitor"
    }
    assert {app: job["replacement"] for app, job in jobs.items()} == {
        "antiphon-worker": "antiphon",
        "antiphon-gateway": "antiphon-gateway",
    }


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
    spec = importlib.util.spec_from_file_location("deletion_cost", DEPLOY / "kubernetes/worker/deletion_cost.py")
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
sys.path.insert(0, {str(DEPLOY / "kubernetes/worker")!r})
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
