"""The state of all dependencies, asked side by side and kept for a moment."""

import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

FRESH = 1.0
PATIENCE = 1.5


def http(url):
    def ask():
        with urllib.request.urlopen(f"{url}/health", timeout=PATIENCE) as answer:
            return str(answer.status)

    return ask


def tcp(address):
    def ask():
        host, port = address.rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
        return "accepts connections"

    return ask


class Board:
    """Checks are (name, kind, address, optional, ask)."""

    def __init__(self, checks):
        self.checks = checks
        self.lock = threading.Lock()
        self.when = None
        self.last = []

    def states(self):
        with self.lock:
            if self.when is None or time.monotonic() - self.when > FRESH:
                with ThreadPoolExecutor(max(1, len(self.checks))) as pool:
                    self.last = list(pool.map(self._ask, self.checks))
                self.when = time.monotonic()
            return self.last

    @staticmethod
    def _ask(check):
        name, kind, address, optional, ask = check
        begun = time.monotonic()
        try:
            up, detail = True, str(ask())
        except Exception as error:  # whatever a client library raises, the dependency is down
            up, detail = False, str(error) or type(error).__name__
        return {
            "name": name,
            "kind": kind,
            "address": address,
            "optional": optional,
            "up": up,
            "millis": int((time.monotonic() - begun) * 1000),
            "detail": detail,
        }


def ready(states):
    return all(state["up"] or state["optional"] for state in states)


def without(states):
    return [state["name"] for state in states if state["optional"] and not state["up"]]
