#!/usr/bin/env python3
"""P2: save → served where the image is rebuilt: agent-engine of the sample workspace without sync rules, so that every save is
a layer over the last build and a container that starts anew. Prints figures; judges nothing.

The new content is asked for through the ingress gateway, that is through two sidecars. Without a mesh (--skip-istio) there is no
gateway; the page is then asked for at the service, through the API server. Tilt and Skaffold then rebuild for the same save, where
they are here: rivals.py says how.

usage: swap.py VADEV [--saves N] [--rivals N] [--skip-istio] [--build] [--http-port PORT] [--https-port PORT]
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import rivals
from reload import Session, ledger
from timing import row, served

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = """    sync:
      - { from: agent_engine/templates, to: /app/agent_engine/templates }
      - { from: agent_engine, to: /app/agent_engine, ignore: ["**/__pycache__", "templates"] }
"""


def workspace(folder):
    shutil.copytree(ROOT / "tests/workspace/services/agent-engine", folder / "services/agent-engine")
    text = (ROOT / "tests/workspace/vadev.yaml").read_text().replace("name: sample", "name: bench-swap")
    begin, end = text.index("  conversation-service:"), text.index("  agent-engine:")
    text = text[:begin] + text[end:]
    if RULES not in text:
        raise SystemExit("the sample's sync rules are not what this script takes out")
    (folder / "vadev.yaml").write_text(text.replace(RULES, "    sync: []\n"))


# A save that takes longer, in milliseconds, is an outlier: what was told meanwhile explains it.
LONG = 3000


def measure(session, source, url, pass_, options):
    page, requirements = source / "agent_engine/templates/page.html.j2", source / "requirements.txt"
    original, times = page.read_text(), []
    for number in range(options.saves):
        token = f"save-{number}-{os.getpid()}"
        if options.build:
            requirements.write_text(requirements.read_text() + f"# {token}\n")
        begun = time.perf_counter()
        page.write_text(original + f"<!-- {token} -->\n")
        times.append(served(url, pass_, token))
        time.sleep(3)
        if times[-1] > LONG:
            print(f"save {number} took {times[-1]:.0f} ms:", *session.told(begun), sep="\n  ", flush=True)
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vadev")
    parser.add_argument("--saves", type=int, default=15)
    parser.add_argument("--rivals", type=int, default=4, help="how many saves Tilt and Skaffold do; 0 leaves them out")
    parser.add_argument("--skip-istio", action="store_true")
    parser.add_argument("--build", action="store_true", help="change the dependency file too, so that every save is a real build")
    parser.add_argument("--http-port", type=int, default=28380)
    parser.add_argument("--https-port", type=int, default=28743)
    options = parser.parse_args()
    vadev = str(pathlib.Path(options.vadev).resolve())
    up = [vadev, "up", "--yes", "-p", "minimal", "--quiet", "--http-port", str(options.http_port), "--https-port", str(options.https_port)]
    url, proxy, session, pass_ = f"http://127.0.0.1:{options.http_port}/api/v1/agents/page", None, None, None
    # Ended from outside, it tidies up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        workspace(folder)
        run = lambda command, check: subprocess.run(command, cwd=folder, check=check, stdout=subprocess.DEVNULL)
        config, source = folder / ".vadev/vadev-bench-swap.kubeconfig", folder / "services/agent-engine"
        try:
            run(up + (["--skip-istio"] if options.skip_istio else []), True)
            if options.skip_istio:
                proxy = subprocess.Popen(["kubectl", "proxy", "--port", "28399", "--kubeconfig", config], stdout=subprocess.DEVNULL)
                service = "api/v1/namespaces/voiceassistant-prod/services/http:agent-engine:8080/proxy"
                url = f"http://127.0.0.1:28399/{service}/api/v1/agents/page"
            else:
                pass_ = subprocess.run([vadev, "token"], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            session = Session(vadev, folder, ["watch", "agent-engine"])
            # Without rules nothing is put into the pod, and so nothing attaches.
            session.wait("watching", lambda e: "ready after" in str(e.get("message")))
            # A session's first look at the source is over then: a save within it is built as a part of that.
            time.sleep(2)
            times = measure(session, source, url, pass_, options)
            way, mesh = "build" if options.build else "layer", "without" if options.skip_istio else "with"
            row(f"P2 {way}, {mesh} sidecar, save to served", times)
            session.stop()
            ledger(vadev, folder)
            # They save what --build does not: a page, and no dependency.
            if not options.build:
                rivals.compare("P2", "bench-swap", source, config, False, options.rivals, times)
        finally:
            if proxy:
                proxy.terminate()
            if session:
                session.stop()
            run([vadev, "down", "--yes", "--quiet"], False)


if __name__ == "__main__":
    main()
