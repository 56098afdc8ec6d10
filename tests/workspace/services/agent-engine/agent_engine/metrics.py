"""Counters in Prometheus' text format."""

import threading
import time
from collections import Counter


class Metrics:
    def __init__(self, service, version):
        self.service, self.version = service, version
        self.started = time.time()
        self.lock = threading.Lock()
        self.requests = Counter()

    def count(self, route, method, code):
        with self.lock:
            self.requests[(route, method, code)] += 1

    def text(self):
        with self.lock:
            counted = sorted(self.requests.items())
        lines = [
            "# TYPE build_info gauge",
            f'build_info{{service="{self.service}",version="{self.version}",language="python"}} 1',
            "# TYPE process_start_time_seconds gauge",
            f'process_start_time_seconds{{service="{self.service}"}} {self.started:.3f}',
            "# TYPE http_requests_total counter",
        ]
        for (route, method, code), count in counted:
            labels = f'service="{self.service}",path="{route}",method="{method}",code="{code}"'
            lines.append(f"http_requests_total{{{labels}}} {count}")
        return "\n".join(lines) + "\n"
