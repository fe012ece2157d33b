"""The dashboard and the alerts ask for metrics that a worker has, and the alerts fire when they should."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

from antiphon_cloud.metrics import REFUSALS, Metrics
from tools import ROOT
from tools.harness.worker_process import BIN

DEPLOY = ROOT / "cloud/deploy"
NAME = re.compile(r"\b(?:antiphon|process|stepper)_[a-z_]+")


def expressions() -> list[str]:
    """Every PromQL expression that is shipped."""
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    found = [rule["expr"] for group in rules for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "grafana/workers.json").read_text())
    found += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return found


def exported() -> set[str]:
    """The names of every sample that a worker exports, once each of its labels was used."""
    metrics = Metrics()
    metrics.ended("OK")
    metrics.resumed("slot")
    metrics.watch_stepper(os.getpid())
    return {sample.name for family in metrics.registry.collect() for sample in family.samples}


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_names_metrics_that_exist(expression: str) -> None:
    assert set(NAME.findall(expression)) <= exported()


def test_every_metric_of_a_worker_is_on_the_dashboard() -> None:
    shown = {name for expression in expressions() for name in NAME.findall(expression)}
    own = {name for name in exported() if name.startswith("antiphon_")}
    hidden = {re.sub("_(bucket|sum|count|total|created|info)$", "", name) for name in own - shown}
    hidden -= {re.sub("_(bucket|sum|count|total)$", "", name) for name in shown}
    assert hidden == {"antiphon_build", "antiphon_sessions_opened"}


def test_the_reasons_in_alerts_are_reasons() -> None:
    for expression in expressions():
        assert set(re.findall(r'reason="(\w+)"', expression)) <= set(REFUSALS)


def test_prometheus_reads_the_alerts_that_are_shipped() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    assert [DEPLOY / "prometheus" / name for name in config["rule_files"]] == [DEPLOY / "prometheus/alerts.yaml"]
    assert config["scrape_configs"][0]["job_name"] == "antiphon"


@pytest.fixture
def promtool() -> str:
    """Prometheus' own reader of rules. Skips where it cannot be had; fails in CI."""
    found = shutil.which("promtool", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("promtool is needed: tools/setup/install_prometheus.sh")
    return found


def test_alerts_fire_when_workers_vanish_and_are_quiet_otherwise(promtool: str) -> None:
    cases = ROOT / "tests/deploy/alerts.test.yaml"
    tested = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    alerts = {
        rule["alert"] for rule in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    }
    named = {
        case["alertname"] for test in yaml.safe_load(cases.read_text())["tests"] for case in test["alert_rule_test"]
    }
    assert alerts - named == {"AntiphonStepsSlow", "AntiphonRefusesByStepTime", "AntiphonUnknownKeys"}


def test_prometheus_takes_the_configuration(promtool: str) -> None:
    config = DEPLOY / "prometheus/prometheus.yaml"
    checked = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
