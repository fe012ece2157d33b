"""The dashboard and the alerts ask for metrics that a worker has."""

from __future__ import annotations

import json
import os
import re

import pytest
import yaml

from antiphon_cloud.metrics import REFUSALS, Metrics
from tools import ROOT

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
