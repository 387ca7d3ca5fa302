# tests/checks/examples.py ROOT PROMTOOL SIDEPOOL -- the files in conf/examples are valid, and name only what exists.
# SIDEPOOL is empty in a build without the program.
import pathlib
import re
import subprocess
import sys

import yaml

root, promtool, sidepool = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
examples = root / "conf/examples"
wrong = []


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        wrong.append(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")


yamls = sorted([*examples.rglob("*.yaml"), *examples.rglob("*.yml")])
documents = {path: yaml.safe_load(path.read_text()) for path in yamls}

run(promtool, "check", "config", examples / "prometheus.yml")
run(promtool, "check", "rules", examples / "alerts.yml")

# Names of metrics: each must be one of the page's, with the suffixes of a histogram where it is one.
known = set(re.findall(r'"((?:sidepool|process)_[a-z_]+)"', "".join(p.read_text() for p in (root / "src/metrics").glob("*.cpp"))))
used = set(re.findall(r"\bsidepool_[a-z_]+", (examples / "alerts.yml").read_text()))
for name in used:
    if re.sub(r"_(bucket|count|sum)$", "", name) not in known:
        wrong.append(f"alerts.yml names {name}, which /metrics does not have")
if not known or not used:
    wrong.append("no names of metrics found")

# The one promise of the first example: Google's arguments and probe, as they are.
proxy = documents[examples / "cloud-run/service.yaml"]["spec"]["template"]["spec"]["containers"][1]
if proxy["args"] != ["--port=5432", "--auto-iam-authn", "my-project:us-central1:my-postgres"]:
    wrong.append(f"service.yaml: arguments changed: {proxy['args']}")
if proxy["startupProbe"] != {"tcpSocket": {"port": 5432}}:
    wrong.append(f"service.yaml: startup probe changed: {proxy['startupProbe']}")



def containers(node):
    if isinstance(node, dict):
        if "image" in node:
            yield node
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers(value)


def check_with_sidepool():
    for path in sorted(examples.rglob("*.toml")):
        run("env", "REPORTING_PASSWORD=x", sidepool, "--config", path, "--check-config")
    ours = [c for d in documents.values() for c in containers(d) if "/sidepool:" in c["image"]]
    if len(ours) != 11:
        wrong.append(f"{len(ours)} containers of sidepool found, not 11")
    for container in ours:
        arguments = [a.replace("/etc/sidepool/", f"{examples}/cloud-run/") for a in container["args"]]
        variables = [f"{v['name']}={v['value']}" for v in container.get("env", [])]
        run("env", "-i", *variables, sidepool, *arguments, "--check-config")


if sidepool:
    check_with_sidepool()
print(f"{len(yamls)} YAML files, {len(used)} names of metrics")
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
