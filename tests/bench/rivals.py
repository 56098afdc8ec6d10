"""Tilt and Skaffold at the work that vadev was measured at: in the same run, on the same cluster, with the same image as the base.

Each is used as it comes, with its own way into a kind cluster (`kind load`), and saves the same file of the same service. Their pod
serves that file without a sidecar and is asked at its node, without a gateway: that is less to do than vadev has, never more. The
tools are looked for on PATH and in TILT and SKAFFOLD; one that is not there is said to be missing, and no ratio is printed.
"""

import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from timing import row, served

NAMESPACE = "vadev-bench-rivals"
IMAGE = "bench-rivals.local/page"
PAGE = "agent_engine/templates/page.html.j2"
TEMPLATES = "/app/agent_engine/templates"
# A line of log for each request would keep the tools busy with it.
SERVER = (
    "import http.server as s; "
    "Page = type('Page', (s.SimpleHTTPRequestHandler,), {'log_message': lambda *_: None}); "
    "s.ThreadingHTTPServer(('', 8080), Page).serve_forever()"
)
PLACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "page", "namespace": NAMESPACE},
    "spec": {"type": "NodePort", "selector": {"app": "page"}, "ports": [{"port": 8080}]},
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "page", "namespace": NAMESPACE},
    "spec": {
        "selector": {"matchLabels": {"app": "page"}},
        "template": {
            "metadata": {"labels": {"app": "page"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "page", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["python3", "-c", SERVER]}],
            },
        },
    },
}


def tiltfile(sync):
    rule = f", live_update=[sync('agent_engine/templates', '{TEMPLATES}')]" if sync else ""
    return f"analytics_settings(False)\ndocker_build('{IMAGE}', '.'{rule})\nk8s_yaml('page.yaml')\n"


def skaffold_file(sync):
    rule = {"manual": [{"src": "agent_engine/templates/*", "strip": "agent_engine/templates/", "dest": TEMPLATES}]}
    artifact = {"image": IMAGE, "docker": {"dockerfile": "Dockerfile"}} | ({"sync": rule} if sync else {})
    return json.dumps({
        "apiVersion": "skaffold/v4beta11",
        "kind": "Config",
        "build": {"artifacts": [artifact], "tagPolicy": {"inputDigest": {}}, "local": {"push": False}},
        "manifests": {"rawYaml": ["page.yaml"]},
        "deploy": {"kubectl": {}},
    })


COMMANDS = {
    "tilt": ["up", "--stream", "--host", "127.0.0.1", "--port", "0", "--namespace", NAMESPACE],
    "skaffold": ["dev", "--interactive=false", "--update-check=false", "--tail=false", "--port-forward=off", "--namespace", NAMESPACE],
}


def tools():
    """The tools that are here; says which ones are not."""
    found = {name: os.environ.get(name.upper()) or shutil.which(name) for name in COMMANDS}
    for name in [name for name, path in found.items() if not path]:
        print(f"{name} is not here (not on PATH, and {name.upper()} does not say where): no ratio to it in this run", flush=True)
    return {name: str(pathlib.Path(path).resolve()) for name, path in found.items() if path}


def surroundings(folder, config):
    """An environment in which they find kind and the cluster, leave the user's own settings alone, and call nobody."""
    cache = os.environ.get("VADEV_CACHE") or (os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) + "/vadev"
    env = {name: value for name, value in os.environ.items() if not (name.startswith("XDG_") and name.endswith("_HOME"))}
    (folder / "home/.skaffold").mkdir(parents=True)
    quiet = {"global": {"collect-metrics": False, "update-check": False, "survey": {"disable-prompt": True}}, "kubeContexts": []}
    (folder / "home/.skaffold/config").write_text(json.dumps(quiet))
    return env | {
        "HOME": str(folder / "home"),
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"),
        "KUBECONFIG": str(config),
        "PATH": f"{os.environ['PATH']}:{cache}/bin",
        "TILT_DISABLE_ANALYTICS": "1",
        "TILT_CLOUD_ADDRESS": "localhost:1",
        "DO_NOT_TRACK": "1",
    }


def settled(log, seconds=60):
    """Waits until a tool has said nothing for two seconds: it is done with the save before."""
    end, size, since = time.monotonic() + seconds, -1, time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < 2:
        if (now := log.stat().st_size) != size:
            size, since = now, time.monotonic()
        time.sleep(0.1)


def measure(name, tool, project, log, env, url, saves):
    page = project / PAGE
    original, times = page.read_text(), []
    with log.open("w") as out:
        process = subprocess.Popen(
            [tool, *COMMANDS[name]], cwd=project, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        served(url, None, original.splitlines()[0], 300, process)
        # The first save shows only that it watches, and is not counted.
        for number in range(saves + 1):
            settled(log)
            token = f"{name}-{number}-{os.getpid()}"
            page.write_text(original + f"<!-- {token} -->\n")
            times.append(served(url, None, token, 120, process))
        return times[1:]
    finally:
        stop(process)
        page.write_text(original)


def stop(process):
    """Ends a tool, and whatever it started that is still there: it leads a process group of its own."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def compare(what, workspace, source, config, sync, saves, ours):
    """Prints what each tool took for the same saves, and how many times as long that is as vadev took, which is `ours`."""
    found = tools() if saves else {}
    if not found:
        return
    with tempfile.TemporaryDirectory(prefix="vadev-bench-rivals-") as name:
        folder = pathlib.Path(name)
        env, project = surroundings(folder, config), folder / "project"
        if missing := [need for need in ("kubectl", "kind", "docker") if not shutil.which(need, path=env["PATH"])]:
            print(f"{' and '.join(found)} cannot do without {' and '.join(missing)}: no ratio to them in this run", flush=True)
            return
        shutil.copytree(source / "agent_engine", project / "agent_engine", ignore=shutil.ignore_patterns("__pycache__"))
        base = f"vadev.local/{workspace}/agent-engine:dev"
        (project / "Dockerfile").write_text(f"FROM {base}\nUSER 0\nWORKDIR {TEMPLATES}\nCOPY agent_engine /app/agent_engine\n")
        (project / "page.yaml").write_text(json.dumps(DEPLOYMENT))
        (project / "Tiltfile").write_text(tiltfile(sync))
        (project / "skaffold.yaml").write_text(skaffold_file(sync))

        def kubectl(*arguments, check=True, text=None):
            return subprocess.run(["kubectl", *arguments], env=env, input=text, check=check, stdout=subprocess.PIPE, text=True).stdout.strip()

        try:
            kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": [PLACE, SERVICE]}))
            port = kubectl("get", "service", "page", "-n", NAMESPACE, "-o", "jsonpath={.spec.ports[0].nodePort}")
            node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
            for name, tool in found.items():
                log = folder / f"{name}.log"
                try:
                    times = measure(name, tool, project, log, env, f"http://{node}:{port}/page.html.j2", saves)
                    row(f"{what} {name}, {'in place' if sync else 'image rebuilt'}, no sidecar, save to served", times)
                    ratio = statistics.median(times) / statistics.median(ours)
                    print(f"{what} {name} / vadev: {ratio:.1f} (p50 {statistics.median(times):.0f} / {statistics.median(ours):.0f} ms)", flush=True)
                except TimeoutError as late:
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                    print(f"{what} {name} was not measured: {late}\n{tail}", flush=True)
                kubectl("delete", "deployment", "page", "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s", check=False)
        finally:
            kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", check=False)
            images = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", IMAGE]
            for image in subprocess.run(images, env=env, capture_output=True, text=True).stdout.split():
                subprocess.run(["docker", "rmi", image], env=env, capture_output=True)
