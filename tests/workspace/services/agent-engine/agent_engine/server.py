"""The HTTP side."""

import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from redis.exceptions import RedisError

from . import VERSION, health, planner
from .greeting import GREETING
from .memory import Memory
from .metrics import Metrics

PREFIX = "/api/v1/agents"


class Service:
    """What requests share, and what they ask for. Every method answers (status, object)."""

    def __init__(self, settings, memory, board):
        self.settings, self.memory, self.board = settings, memory, board
        self.metrics = Metrics(settings.service, VERSION)
        self.started = time.time()

    def ready(self):
        states = self.board.states()
        missing = health.without(states)
        if not health.ready(states):
            return 503, {"status": "not ready", "ready": False, "runsWithout": missing, "dependencies": states}
        phrase = "ready, with less" if missing else "ready"
        return 200, {"status": phrase, "ready": True, "runsWithout": missing, "dependencies": states}

    def info(self):
        states = self.board.states()
        return 200, {
            "version": VERSION,
            "language": "python",
            "greeting": GREETING,
            "prefixes": [PREFIX],
            "startedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "uptimeSeconds": int(time.time() - self.started),
            "ready": health.ready(states),
            "runsWithout": health.without(states),
            "dependencies": states,
        }

    def get(self, path):
        if path in ("/health", "/api/v1/health", f"{PREFIX}/health"):
            return path, 200, {"status": "ok"}
        if path == "/ready":
            return path, *self.ready()
        if path in ("/", "/info"):
            return path, *self.info()
        if path == PREFIX:
            return path, 200, {"agents": self.memory.all()}
        number = path.removeprefix(f"{PREFIX}/")
        if path.startswith(f"{PREFIX}/") and number.isdigit():
            agent = self.memory.get(int(number))
            if agent:
                return f"{PREFIX}/ID", 200, {"agent": agent, "plan": planner.plan(agent, self.settings.max_steps)}
        return "other", 404, {"error": f"no such path: {path}"}

    def post(self, path, body):
        if path == PREFIX:
            if not isinstance(body, dict) or not body.get("name") or not body.get("goal"):
                return path, 400, {"error": "a name and a goal are needed"}
            return path, 201, {"agent": self.memory.create(str(body["name"]), str(body["goal"]))}
        number = path.removeprefix(f"{PREFIX}/").removesuffix("/runs")
        if path == f"{PREFIX}/{number}/runs" and number.isdigit():
            agent = self.memory.get(int(number))
            if agent:
                steps = planner.plan(agent, self.settings.max_steps)
                runs = self.memory.remember(int(number), steps)
                return f"{PREFIX}/ID/runs", 201, {"plan": steps, "runs": runs}
        return "other", 404, {"error": f"no such path: {path}"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: on a connection that is kept, the second would wait for the peer's delayed acknowledgement.
    disable_nagle_algorithm = True
    service: Service

    def do_GET(self):
        path = self.path.split("?", 1)[0]
        if path == "/metrics":
            return self.send(path, 200, "text/plain; version=0.0.4; charset=utf-8", self.service.metrics.text())
        if path == f"{PREFIX}/page":
            return self.guarded(lambda: (path, 200, planner.page(self.service.memory.all())), "text/html; charset=utf-8")
        return self.guarded(lambda: self.service.get(path))

    def do_POST(self):
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        except ValueError:
            return self.send("other", 400, "application/json", {"error": "the body is no JSON"})
        return self.guarded(lambda: self.service.post(self.path.split("?", 1)[0], body))

    def guarded(self, work, kind="application/json"):
        try:
            route, status, content = work()
        except RedisError as error:
            route, status, content, kind = "other", 503, {"error": f"redis: {error}"}, "application/json"
        return self.send(route, status, kind, content)

    def send(self, route, status, kind, content):
        if isinstance(content, dict):
            content = json.dumps(content | {"service": self.service.settings.service}) + "\n"
        data = content.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.service.metrics.count(route, self.command, status)
        if route not in ("/health", "/ready", "/metrics") or status >= 500:
            line = {"service": self.service.settings.service, "method": self.command, "path": self.path, "status": status}
            print(json.dumps(line), flush=True)

    def log_message(self, *_):
        """Every answer is logged by `send`."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(settings):
    memory = Memory(settings.redis_address, settings.redis_password)
    checks = [("redis", "redis", settings.redis_address, False, memory.ping)]
    checks += [(name, "http", url, True, health.http(url)) for name, url in settings.services.items()]
    checks += [(name, name, address, True, health.tcp(address)) for name, address in settings.optional.items()]
    handler = type("Bound", (Handler,), {"service": Service(settings, memory, health.Board(checks))})
    server = Server(("", settings.port), handler)

    def stop(*_):
        # shutdown() waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(json.dumps({"service": settings.service, "message": "listening", "port": settings.port, "pid": os.getpid()}), flush=True)
    server.serve_forever(poll_interval=0.05)
