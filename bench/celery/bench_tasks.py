"""The same tasks for Celery; see marks.mjs for what they leave behind."""

import mmap
import os
import struct
import time

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_AMQP", os.environ["BENCH_REDIS"]), backend=os.environ["BENCH_REDIS"])
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("BENCH_IGNORE") == "1":
    app.conf.task_ignore_result = True
if os.environ.get("BENCH_CONFIRMED") == "1":
    app.conf.broker_transport_options = {"confirm_publish": True}
if os.environ.get("BENCH_TUNED") == "1":
    app.conf.task_ignore_result = True
    app.conf.worker_prefetch_multiplier = 64

folder = os.environ.get("BENCH_FOLDER", ".")
marks = None
count = first = last = gap = 0


def mark():
    # Memory that is a file: a task pays a microsecond.
    global marks, count, first, last, gap
    now = time.monotonic_ns()
    if marks is None:
        with open(os.path.join(folder, f"marks-{os.getpid()}"), "w+b") as file:
            file.write(bytes(32))
            file.flush()
            marks = mmap.mmap(file.fileno(), 32)
        first = now
    else:
        gap = max(gap, now - last)
    count += 1
    last = now
    struct.pack_into("4d", marks, 0, count, first, last, gap)


@app.task
def add(x, y):
    mark()
    return x + y


@app.task
def cpu(ms):
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass
    mark()


@app.task
def wait(ms):
    time.sleep(ms / 1000)
    mark()


@app.task
def stamped(sent_ns):
    write_stamp(time.monotonic_ns() - sent_ns)


@app.task
def late(due_ms):
    write_stamp(time.time_ns() - due_ms * 1_000_000)


def write_stamp(waited):
    with open(os.path.join(folder, f"stamps-{os.getpid()}"), "a") as file:
        file.write(f"{waited}\n")


@app.task
def total(numbers):
    return sum(numbers)
