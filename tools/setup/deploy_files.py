"""Writes the files of cloud/deploy that are made from others, which Kubernetes wants in a form of its own.

    python -m tools.setup.deploy_files [--check]

    cloud/deploy/kubernetes/monitoring/rules.yaml   the alerts of prometheus/alerts.yaml as a PrometheusRule
    cloud/deploy/kubernetes/public/envoy.yaml       envoy/envoy.yaml with the commented lines that give it a certificate

With --check nothing is written; the exit status is 1 if a file is not what it should be.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from tools import ROOT

DEPLOY = ROOT / "cloud/deploy"
MADE = "# Made by `python -m tools.setup.deploy_files` from {source}: change that file.\n"
RULE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: antiphon
spec:
"""
CERTIFICATE = re.compile(r"^ *# For edges outside.*\n((?: *#  .*\n)+)", re.MULTILINE)


def made() -> dict[Path, str]:
    """The files, and what they should say."""
    alerts = (DEPLOY / "prometheus/alerts.yaml").read_text()
    envoy = (DEPLOY / "envoy/envoy.yaml").read_text()
    groups = alerts[alerts.index("groups:") :]
    rules = MADE.format(source="../../prometheus/alerts.yaml") + RULE + textwrap.indent(groups, "  ")
    return {
        DEPLOY / "kubernetes/monitoring/rules.yaml": rules,
        DEPLOY / "kubernetes/public/envoy.yaml": MADE.format(source="../../envoy/envoy.yaml") + with_certificate(envoy),
    }


def with_certificate(envoy: str) -> str:
    """The configuration with its one commented block in force."""
    (block,) = CERTIFICATE.finditer(envoy)
    lines = block[1].replace("#   ", "- ", 1).replace("#   ", "  ")
    filters = envoy[block.end() :].replace("- filters:", "  filters:", 1)
    return envoy[: block.start()] + lines + filters


def main() -> None:
    """Writes the files, or says which differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if a file differs")
    check = parser.parse_args().check
    differ = [(path, text) for path, text in made().items() if not path.exists() or path.read_text() != text]
    for path, text in differ:
        if check:
            print(f"{path.relative_to(ROOT)} is not what it is made from: python -m tools.setup.deploy_files")
        else:
            path.write_text(text)
    sys.exit(check and bool(differ))


if __name__ == "__main__":
    main()
