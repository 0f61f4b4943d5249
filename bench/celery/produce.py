"""What producer.mjs does, for Celery. `delay` returns when Redis has the message."""

import json
import resource
import sys
import time
from datetime import datetime, timezone

from bench_tasks import add, app, cpu, late, stamped, total, wait
from celery import chord

calls = {"add": lambda: add.delay(2, 3), "cpu": lambda: cpu.delay(5), "wait": lambda: wait.delay(10)}


def summed(count):
    found = chord([add.s(2, 3) for _ in range(count)], total.s()).delay().get(timeout=600)
    if found != 5 * count:
        raise SystemExit(f"a chord of {count} gave {found}")


def main(what, *rest):
    if what == "preload":
        kind, count = rest
        for _ in range(int(count)):
            result = calls[kind]()
        return {"last": result.id}
    if what == "enqueue":
        total = int(rest[1])
        for _ in range(total // 10 + 1):
            calls["add"]()
        began = time.perf_counter()
        for _ in range(total):
            calls["add"]()
        return {"perSecond": total / (time.perf_counter() - began)}
    if what == "latency":
        count, gap_ms = rest
        for _ in range(int(count)):
            stamped.delay(time.monotonic_ns())
            time.sleep(int(gap_ms) / 1000)
        return {}
    if what == "later":
        count, from_now_ms, over_ms = map(int, rest)
        start_ms = int(time.time() * 1000) + from_now_ms
        for sent in range(count):
            due_ms = start_ms + round(over_ms * sent / count)
            late.apply_async((due_ms,), eta=datetime.fromtimestamp(due_ms / 1000, timezone.utc))
        return {}
    if what == "chord":
        count, times = map(int, rest)
        summed(1_000)
        began = time.perf_counter()
        for _ in range(times):
            summed(count)
        return {"ms": (time.perf_counter() - began) * 1000 / times, "producerMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if what == "verify":
        app.AsyncResult(rest[0]).get(timeout=20)
        return {}
    raise SystemExit(f"unknown: {what}")


print(json.dumps(main(*sys.argv[1:])))
