"""Records what real Python Celery writes, into test/wire/: python scripts/record-wire.py

Needs: pip install "celery[msgpack,yaml]>=5.6" brotli backports.zstd. No broker: messages are taken out of kombu's memory transport, results out of its memory cache.
Each file has the bytes as a Redis broker or backend would hold them; ids are fixed, times are those of the recording.
"""

import json
import pathlib
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import celery
import celery.app.amqp
import kombu
from celery import Celery, chain, chord, group
from celery.app.task import Context
from kombu.utils.json import dumps

HERE = pathlib.Path(__file__).resolve().parent.parent / "test" / "wire"
VERSIONS = {"celery": celery.__version__, "kombu": kombu.__version__}

# The name of the machine that records is nobody's business.
celery.app.amqp.anon_nodename = lambda: "gen1@host"

app = Celery("wire", broker="memory://", backend="cache+memory://")
app.conf.update(task_ignore_result=False, accept_content=["json", "msgpack", "yaml"])


@app.task(name="t.add")
def add(x, y, **kwargs):
    return x + y


@app.task(name="t.tsum")
def tsum(numbers):
    return sum(numbers)


@app.task(name="t.errback")
def errback(task_id):
    return task_id


@app.task(name="t.flaky", bind=True, max_retries=3)
def flaky(self, x):
    raise self.retry(countdown=5, exc=ValueError("again", x))


def write(folder, name, content):
    path = HERE / folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"recordedWith": VERSIONS, **content}, indent=2) + "\n")


def waiting(queue="celery"):
    """The envelopes in the queue, oldest first, as text."""
    found = []
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        while channel._size(queue):
            found.append(json.loads(dumps(channel._get(queue))))
    return found


def record(name, send, about):
    waiting()
    send()
    envelopes = waiting()
    assert envelopes, name
    write("messages", name, {"about": about, "envelopes": envelopes})


def record_messages():
    record("add", lambda: add.apply_async((2, 3), task_id="id-add"), "a plain call")
    record("send-task", lambda: app.send_task("t.elsewhere", args=[1], kwargs={"a": "b"}, task_id="id-send"), "a call by name, args as a list")
    record("kwargs", lambda: add.apply_async((), {"x": 1, "y": {"z": [None, True, 1.5, "é'\n"]}}, task_id="id-kwargs"), "keyword arguments only")
    record(
        "options",
        lambda: add.apply_async(
            (1, 2), task_id="id-options", countdown=10, expires=60, priority=5, link=tsum.s(), link_error=[errback.s(), errback.si("x")],
            headers={"X-My": "h", "tenant": {"id": 7}}, shadow="shadow name", time_limit=30, soft_time_limit=20.5, ignore_result=True,
            root_id="id-root", parent_id="id-parent", reply_to="id-reply", argsrepr="(...)", kwargsrepr="{...}", origin="gen1@host", retries=2,
        ),
        "every option",
    )  # fmt: skip
    record("eta-naive", lambda: add.apply_async((1, 2), task_id="id-eta", eta=datetime(2030, 1, 2, 3, 4, 5)), "a naive eta, which is UTC")
    berlin = timezone(timedelta(hours=2))
    record("eta-offset", lambda: add.apply_async((1, 2), task_id="id-eta2", eta=datetime(2030, 1, 2, 3, 4, 5, 678901, berlin)), "an eta with an offset")
    record("expires-past", lambda: add.apply_async((1, 2), task_id="id-expired", expires=datetime(2020, 1, 1, tzinfo=timezone.utc)), "expired already")
    record("link", lambda: add.apply_async((1, 2), task_id="id-link", link=add.s(3).set(task_id="id-linked", queue="other")), "one callback")
    record("chain", lambda: chain(add.s(1, 2).set(task_id="c1"), add.s(3).set(task_id="c2"), add.s(4)).apply_async(task_id="c3"), "the rest is in reverse order")
    record("chord", lambda: chord([add.s(1, 2), add.s(3, 4)])(tsum.s().set(task_id="id-body")), "header members carry the body")
    record("group", lambda: group(add.s(1, 1), add.s(2, 2)).apply_async(task_id="id-group"), "members carry group and group_index")
    record("stamps", lambda: app.send_task("t.add", (1, 2), task_id="id-stamps", stamped_headers=["tenant"], tenant="acme"), "stamped")
    record("retry", retry, "the message of a retry: same id, retries + 1, an eta")
    for serializer in ("msgpack", "yaml"):
        record(serializer, lambda: add.apply_async((1, ["é", 2**40, None, True, -1.5, "yes"]), {"k": {"b": 1}}, task_id=f"id-{serializer}", serializer=serializer), serializer)  # fmt: skip
    for compression in ("zlib", "brotli", "zstd", "bzip2", "lzma"):
        record(compression, lambda: add.apply_async((1, "x" * 2000), task_id=f"id-{compression}", compression=compression), compression)
    record("tags", lambda: add.apply_async((tagged(), 0), task_id="id-tags"), "kombu's tags of non-JSON types")
    numbers = [float("nan"), float("inf"), float("-inf"), 2**53, 2**53 - 1, -(2**63), 10**40, 1e300, 1e-7, 123456789.123456789]
    record("numbers", lambda: add.apply_async((numbers, 0), task_id="id-numbers"), "numbers that JSON.parse refuses or rounds")
    app.conf.task_protocol = 1
    app.amqp.__dict__.clear()
    app.amqp.__init__(app)
    record("protocol-1", lambda: add.apply_async((1, 2), {"k": [1]}, task_id="id-p1", link=tsum.s(), countdown=10, time_limit=30), "protocol 1")
    app.conf.task_protocol = 2
    app.amqp.__dict__.clear()
    app.amqp.__init__(app)


def tagged():
    return {
        "datetime": datetime(2024, 1, 2, 3, 4, 5, 678901),
        "aware": datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))),
        "date": date(2024, 1, 2),
        "time": time(3, 4, 5, 6),
        "decimal": Decimal("1.50"),
        "uuid": UUID("12345678-1234-5678-1234-567812345678"),
        "bytes": b"abc",
        "base64": b"\xff\x00",
    }


def retry():
    request = {"id": "id-retry", "retries": 0, "args": [7], "kwargs": {}, "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0}}
    flaky.push_request(called_directly=False, headers={"mine": 1}, expires="2031-01-01T00:00:00+00:00", timelimit=[30, 20], root_id="id-root", **request)
    try:
        flaky(7)
    except celery.exceptions.Retry:
        pass
    finally:
        flaky.pop_request()


def record_results():
    backend = app.backend

    def meta(name, task_id, result, state, about, **options):
        backend.store_result(task_id, result, state, **options)
        stored = backend.get(backend.get_key_for_task(task_id))
        write("results", name, {"about": about, "stored": stored.decode() if isinstance(stored, bytes) else stored})

    plain = Context(id="r", group=None, parent_id=None, children=[])
    meta("success", "r-success", {"sum": 3, "at": datetime(2024, 1, 2)}, "SUCCESS", "a value", request=plain)
    meta("no-request", "r-none", None, "SUCCESS", "stored without a request: children are null")
    meta("failure", "r-failure", ValueError("boom", 42), "FAILURE", "an error", traceback="Traceback ...\nValueError: boom", request=plain)
    meta("failure-nested", "r-nested", Outer.Inner({"a": 1}, Decimal("2")), "FAILURE", "an error of a class in a class", traceback=None, request=plain)
    meta("retry", "r-retry", ValueError("again"), "RETRY", "waits for its next run", traceback="Traceback ...", request=plain)
    meta("revoked", "r-revoked", celery.exceptions.TaskRevokedError("terminated"), "REVOKED", "revoked", request=plain)
    meta("progress", "r-progress", {"done": 1, "total": 10}, "PROGRESS", "a state of the task's own", request=plain)
    meta("started", "r-started", {"pid": 12, "hostname": "w@h"}, "STARTED", "started", request=plain)
    member = Context(id="r", group="g1", group_index=0, parent_id="p1")
    member._children = [app.AsyncResult("child"), app.GroupResult("gc", [app.AsyncResult("m1"), app.AsyncResult("m2")])]
    meta("group-member", "r-group", 3, "SUCCESS", "a member of a group, with children", request=member)
    app.conf.result_extended = True
    extended = Context(
        id="r", task="t.add", args=[1, 2], kwargs={"k": 1}, hostname="w@h", retries=1, group="g1", parent_id="p1", children=[],
        delivery_info={"routing_key": "celery"}, stamped_headers=["tenant"], stamps={"tenant": "acme"},
    )  # fmt: skip
    meta("extended", "r-extended", 3, "SUCCESS", "result_extended, stamped", request=extended)
    app.conf.result_extended = False


class Outer:
    class Inner(Exception):
        pass


if __name__ == "__main__":
    record_messages()
    record_results()
    print("recorded", sum(1 for _ in HERE.rglob("*.json")), "files with", VERSIONS)
