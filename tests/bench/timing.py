"""What the benchmarks of saves share: how long it takes until something is served, and how that is printed."""

import http.client
import statistics
import time
import urllib.error
import urllib.request


def served(url, token, text, seconds=120, process=None):
    """Milliseconds until `url` answers with `text`, asked every 5 ms; not a moment longer than `process` lives."""
    begun = time.perf_counter()
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    while True:
        if process and process.poll() is not None:
            raise TimeoutError(f"it ended with code {process.returncode} before {url} answered with {text!r}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                if text in answer.read().decode():
                    return (time.perf_counter() - begun) * 1000
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            # Not there for a moment, or its answer was cut short by the restart.
            pass
        if time.perf_counter() - begun > seconds:
            raise TimeoutError(f"{url} did not answer with {text!r} in {seconds} s")
        time.sleep(0.005)


def row(what, values):
    values = sorted(values)
    p95 = values[max(0, -(-len(values) * 95 // 100) - 1)]
    middle, ends = statistics.median(values), f"{values[0]:.1f}–{values[-1]:.1f}"
    print(f"{what:52} p50 {middle:8.1f} ms   p95 {p95:8.1f}   {ends:>16}   n={len(values)}", flush=True)
