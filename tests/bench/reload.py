#!/usr/bin/env python3
"""Save → served, and watching many files, on the sample workspace. Prints figures; judges nothing.

P1: a module and a template of agent-engine and a source file of conversation-service are saved, and the new content is asked
for until it is served: through the ingress gateway where a route leads there, else through the figures that vadev keeps. The
template, which needs no restart, is then saved under Tilt and Skaffold too where they are here: rivals.py says how.
P8: 100,000 files: ready time, idle CPU, memory.

usage: reload.py VADEV [--saves N] [--rivals N] [--files N] [--http-port PORT] [--https-port PORT] [--workspace FOLDER]
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import rivals
from timing import row, served

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Session:
    """A `vadev dev`, and the events that it tells."""

    def __init__(self, vadev, folder, arguments):
        command = [vadev, *arguments, "--no-logs", "--progress", "json"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.events, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "text", "message": line.strip()}
            event["seen"] = time.perf_counter()
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()

    def wait(self, what, found, seconds=600):
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                hit = next((event for event in self.events if found(event)), None)
                if hit:
                    return hit
                if self.process.poll() is not None or time.monotonic() > end:
                    tail = "\n".join(json.dumps(event) for event in self.events[-15:])
                    raise SystemExit(f"{what} did not come about:\n{tail}")
                self.changed.wait(1)

    def told(self, since):
        """What was told since a moment, each with the milliseconds after it."""
        with self.changed:
            events = [dict(event) for event in self.events if event["seen"] >= since]
        return [f"{(event.pop('seen') - since) * 1000:7.0f} ms  {json.dumps(event)}" for event in events]

    def attached(self, service):
        self.wait(f"{service} attached", lambda e: e.get("phase") == "attached" and e.get("service") == service)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def ledger(vadev, folder):
    """Prints where vadev's own ledger says that the time went."""
    stats = subprocess.run([vadev, "reload", "stats", "-o", "json"], cwd=folder, capture_output=True, text=True, check=True)
    for one in json.loads(stats.stdout):
        print(
            f"ledger: {one['service']} {one['way']} p50 {one['p50']:.0f} ms, p95 {one['p95']:.0f}, {one['saves']} saves, "
            f"{one['failures']} failed, {one['stages']}",
            flush=True,
        )


def restart(folder, how):
    """Changes what a sync does to agent-engine's process, in the workspace file, which a session plans anew from."""
    file = folder / "vadev.yaml"
    head, tail = file.read_text().split("  agent-engine:", 1)
    lines = [f"    restart: {how}" if line.strip().startswith("restart:") else line for line in tail.split("\n")]
    if file.read_text() != (text := head + "  agent-engine:" + "\n".join(lines)):
        file.write_text(text)
        time.sleep(12)


def p1(vadev, folder, port, saves):
    pass_ = subprocess.run([vadev, "token"], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    url = f"http://127.0.0.1:{port}/api/v1/agents/page"
    package = folder / "services/agent-engine/agent_engine"
    template, planner, took = package / "templates/page.html.j2", package / "planner.py", {}
    for what, file, line in [("template", template, "<!-- {} -->\n"), ("module", planner, None)]:
        # The service reads templates on use; a module needs its process started again.
        restart(folder, "none" if line else "process")
        before, times = file.read_text(), []
        for number in range(saves):
            token = f"save-{what}-{number}-{os.getpid()}"
            if line:
                text = before + line.format(token)
            else:
                text = before + f"\n_page = page\ndef page(*a):\n    return _page(*a) + '<!-- {token} -->'\n"
            file.write_text(text)
            times.append(served(url, pass_, token))
            time.sleep(0.15)
        file.write_text(before)
        row(f"P1 python {what} ({'in place' if line else 'process restarted'}), save to served", times)
        took[what] = times
        time.sleep(1)
    return took["template"]


def p8(vadev, folder, files, arguments):
    many = folder / "services/agent-engine/assets"
    for number in range(files):
        part = many / f"d{number // 100}"
        if number % 100 == 0:
            part.mkdir(parents=True)
        (part / f"f{number}").write_text("x")
    session = Session(vadev, folder, arguments)
    try:
        note = session.wait("watching", lambda e: "watching" in str(e.get("message")) and "ready after" in str(e.get("message")))
        session.attached("agent-engine")
        time.sleep(15)
        ticks = lambda: sum(int(n) for n in pathlib.Path(f"/proc/{session.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
        before, begun = ticks(), time.monotonic()
        time.sleep(30)
        share = (ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begun) * 100
        status = pathlib.Path(f"/proc/{session.process.pid}/status").read_text()
        memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"P8 {note['message']}; idle CPU {share:.2f} %, memory {memory / 1024:.0f} MB", flush=True)
    finally:
        session.stop()
        shutil.rmtree(many)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vadev")
    parser.add_argument("--saves", type=int, default=20)
    parser.add_argument("--rivals", type=int, default=20, help="how many saves Tilt and Skaffold do; 0 leaves them out")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--http-port", type=int, default=28180)
    parser.add_argument("--https-port", type=int, default=28543)
    parser.add_argument("--workspace")
    parser.add_argument("--profile", default="minimal")
    options = parser.parse_args()
    vadev = str(pathlib.Path(options.vadev).resolve())
    folder = pathlib.Path(options.workspace or tempfile.mkdtemp(prefix="vadev-bench-"))
    shutil.copytree(ROOT / "tests/workspace", folder, dirs_exist_ok=True)
    file = folder / "vadev.yaml"
    file.write_text(file.read_text().replace("name: sample", "name: bench-reload").replace("profile: dev", f"profile: {options.profile}"))
    ports = ["--http-port", str(options.http_port), "--https-port", str(options.https_port)]
    # Ended from outside, it tidies up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    session = Session(vadev, folder, ["dev", "agent-engine", "--yes", *ports])
    try:
        session.attached("agent-engine")
        time.sleep(2)
        times = p1(vadev, folder, options.http_port, options.saves)
        session.stop()
        ledger(vadev, folder)
        config = folder / ".vadev/vadev-bench-reload.kubeconfig"
        rivals.compare("P1", "bench-reload", folder / "services/agent-engine", config, True, options.rivals, times)
        if options.files:
            p8(vadev, folder, options.files, ["watch", "agent-engine", "--yes"])
    finally:
        session.stop()
        if not options.workspace:
            subprocess.run([vadev, "down", "--yes"], cwd=folder, check=False)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
