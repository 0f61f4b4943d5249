"""The Python half of the interop tests: an app as a user writes one, with the same tasks under the same names as node/app.mjs.

The environment says where and with what configuration it runs, as a deployment would.
"""

import json
import os
import time

from canvas_of import canvas_of
from celery import Celery
from kombu.common import Broadcast
from redis import Redis
from shop_errors import CardDeclined, Desk

app = Celery("interop", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_BACKEND"])
app.conf.update(accept_content=["json", "msgpack", "yaml"], broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)
config = json.loads(os.environ.get("INTEROP_CONFIG", "{}"))
broadcasts = config.pop("broadcasts", [])
app.conf.update(config)
if broadcasts:
    app.conf.task_queues = [Broadcast(name) for name in broadcasts]
if config.get("security_key"):
    app.setup_security()

store = Redis.from_url(os.environ["INTEROP_STORE"], decode_responses=True)


def pass_gate(name):
    """Says that it is here, then waits until the test opens the gate."""
    store.rpush(f"at-gate:{name}", "here")
    if store.blpop([f"gate:{name}"], timeout=20) is None:
        raise TimeoutError(f"nobody opened the gate {name}")


@app.task(name="interop.add")
def add(a, b):
    return a + b


@app.task(name="interop.mark")
def mark(*args):
    """Who ran, and on what: `mark("a")` is ["a"], `mark(result, "b")` is ["b", result]."""
    return list(reversed(args))


@app.task(name="interop.boom")
def boom(*args):
    raise ValueError(f"boom {args[-1]}")


@app.task(name="interop.instead", bind=True)
def instead(self, *args):
    """Hands on to a canvas: the last argument, in a list, as in Node one object would be keyword arguments."""
    raise self.replace(canvas_of(app, args[-1][0]))


@app.task(name="interop.one_more", bind=True)
def one_more(self, *args):
    """Adds a member to its chord: the last argument."""
    self.add_to_chord(canvas_of(app, args[-1][0]))
    return list(args[:-1])


@app.task(name="interop.place", bind=True)
def place(self, *args):
    r = self.request
    return {
        "args": list(args),
        "id": r.id,
        "root": r.root_id,
        "parent": r.parent_id,
        "group": r.group,
        "index": r.group_index,
        "nesting": r.replaced_task_nesting,
        "stamps": r.stamps or {},
    }


@app.task(name="interop.echo")
def echo(value):
    return value


@app.task(name="interop.greet")
def greet(*, name, greeting="hello"):
    return f"{greeting} {name}"


@app.task(name="interop.numbers")
def numbers():
    """What JSON.parse would refuse or change."""
    return [2**53 + 1, -(2**70), float("nan"), float("inf"), float("-inf"), 1e400 - 1e400, 0.1]


@app.task(name="interop.request", bind=True)
def request(self):
    r = self.request
    return {
        "id": r.id,
        "root": r.root_id,
        "parent": r.parent_id,
        "retries": r.retries,
        "headers": r.headers or {},
        "redelivered": bool((r.delivery_info or {}).get("redelivered")),
        "queue": (r.delivery_info or {}).get("routing_key"),
        "group": r.group,
    }


@app.task(name="interop.fail")
def fail(kind):
    if kind == "value":
        raise ValueError("no good", 42)
    if kind == "key":
        raise KeyError("k")
    if kind == "none":
        raise RuntimeError()
    if kind == "module":
        raise CardDeclined("acct-1", {"cents": 300})
    if kind == "nested":
        raise Desk.Closed("at night")
    if kind == "unwritable":
        raise ValueError(object)
    if kind == "chained":
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    raise AssertionError(kind)


@app.task(name="interop.flaky", bind=True, max_retries=5)
def flaky(self, times, countdown=0):
    store.rpush(f"runs:{self.request.id}", f"{self.request.retries} python")
    if self.request.retries < times:
        raise self.retry(countdown=countdown, exc=ValueError("again"))
    return {"retries": self.request.retries, "headers": self.request.headers or {}, "id": self.request.id, "parent": self.request.parent_id}


@app.task(name="interop.gives_up", bind=True, max_retries=1)
def gives_up(self, with_cause):
    if with_cause:
        raise self.retry(countdown=0, exc=ValueError("still broken"))
    raise self.retry(countdown=0)


@app.task(name="interop.report", bind=True)
def report(self, state, meta, gate):
    self.update_state(state=state, meta=meta)
    pass_gate(gate)
    return "done"


@app.task(name="interop.gate")
def gate(name):
    pass_gate(name)
    return name


@app.task(name="interop.note")
def note(value, name):
    """What a link was given, in a list that the test reads."""
    store.rpush(f"note:{name}", json.dumps(value))
    return value


@app.task(name="interop.failed_python")
def failed(task_id, name):
    store.rpush(f"note:{name}", json.dumps(task_id))


@app.task(name="interop.count", bind=True, ignore_result=True)
def count(self, key):
    with store.pipeline(transaction=False) as pipe:
        pipe.hincrby(f"ran:{key}", self.request.id, 1).rpush(f"ran-by:{key}", f"{self.request.id} python {os.getpid()} {time.time():.3f}").execute()


@app.task(name="interop.sleep", bind=True)
def sleep(self, seconds):
    store.rpush(f"starts:{self.request.id}", time.time())
    time.sleep(seconds)
    return seconds


@app.task(name="interop.where")
def where():
    return "python"


@app.task(name="interop.crowded")
def crowded(name, seconds):
    """Says how many of them run in this language, itself among them, for as long as that is given."""
    store.rpush(f"crowds:{name}:python", store.incr(f"crowd:{name}:python"))
    time.sleep(seconds)
    store.decr(f"crowd:{name}:python")
    return "python"
