"""Records which messages real Python Celery sends for a canvas, into test/wire/canvas.json: python scripts/record-canvas.py

Needs what scripts/record-wire.py needs, and no broker. Each case is a signature as JSON, what it was applied with, and what that sent: first by a client,
then, where a chain goes on, by the worker that ended the task before. Ids are those of the recording.
"""

import base64
import json
import pathlib

import celery
import kombu
from celery import Celery, chain, chord, group, signature
from kombu.utils.json import dumps

HERE = pathlib.Path(__file__).resolve().parent.parent / "test" / "wire"

app = Celery("wire", broker="memory://", backend="cache+memory://")
app.conf.update(task_ignore_result=False)


@app.task(name="t.add")
def add(x, y):
    return x + y


@app.task(name="t.tsum")
def tsum(numbers):
    return sum(numbers)


@app.task(name="t.errback")
def errback(task_id):
    return task_id


def data(value):
    return json.loads(dumps(value))


def waiting():
    found = []
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        while channel._size("celery"):
            envelope = data(channel._get("celery"))
            args, kwargs, embed = json.loads(base64.b64decode(envelope["body"]))
            headers = {name: envelope["headers"][name] for name in ("task", "id", "group", "group_index", "root_id", "parent_id", "stamped_headers", "stamps")}
            found.append({"headers": headers, "args": args, "kwargs": kwargs, "embed": embed, "priority": envelope["properties"]["priority"]})
    return found


sizes = []
app.backend.set_chord_size = lambda group_id, size: sizes.append([group_id, size])
app.backend.apply_chord = lambda *args, **kwargs: None


def applied(sig, args=(), kwargs=None, **options):
    """What one application sends, and what its caller gets."""
    given = {"signature": data(sig), "args": list(args), "kwargs": kwargs or {}, "options": data(options)}
    waiting()
    sizes.clear()
    result = sig.apply_async(args, kwargs or {}, **options)
    return {**given, "messages": waiting(), "sizes": list(sizes), "result": data(result.as_tuple()) if result is not None else None}


cases = []


def case(name, sig, args=(), kwargs=None, **options):
    first = applied(sig, args, kwargs, **options)
    cases.append({"name": name, "by": "client", **first})
    # What a worker sends when the task has ended, until the chain has.
    chain = first["messages"][0]["embed"]["chain"] if first["messages"] else None
    parent = first["messages"][0]["headers"] if first["messages"] else None
    step = 1
    while chain:
        then = applied(signature(chain[-1], app=app), (step,), chain=chain[:-1], parent_id=parent["id"], root_id=parent["root_id"])
        cases.append({"name": f"{name}, step {step}", "by": "worker", **then})
        if not then["messages"] or then["messages"][0]["headers"]["group"] and then["messages"][0]["embed"]["chord"]:
            break
        chain, parent, step = then["messages"][0]["embed"]["chain"], then["messages"][0]["headers"], step + 1


def record():
    case("task", add.s(1, 2))
    case("task with partial arguments", add.s(2), (1,))
    case("immutable task with partial arguments", add.si(2, 3), (1,))
    case("task with links", add.s(1, 2).on_error(errback.s()), link=add.s(3))
    case("chain", chain(add.s(1, 2), add.s(3), add.s(4)))
    case("chain of one", chain(add.s(1, 2)))
    case("chain with an id", chain(add.s(1, 2), add.s(3)), task_id="last")
    case("chain with partial arguments", chain(add.s(2), add.s(3)), (1,))
    case("chain with an immutable step", chain(add.s(1, 2), add.si(3, 4), add.s(5)))
    case("chain in a chain", chain(add.s(1, 2), chain(add.s(3), add.s(4)), add.s(5)))
    linked = chain(add.s(1, 2), add.s(3))
    linked.link(add.s(4))
    linked.link_error(errback.s())
    case("chain with links", linked)
    case("chain with options", chain(add.s(1, 2), add.s(3)), priority=3)
    case("group", group(add.s(1, 1), add.s(2, 2)))
    case("group with an id", group(add.s(1, 1), add.s(2, 2)), task_id="gid")
    case("group with partial arguments", group(add.s(1), add.si(2, 2)), (5,))
    case("group in a group", group(add.s(1, 1), add.s(2, 2), group(add.s(3, 3), add.s(4, 4)), add.s(5, 5)))
    case("group of chains", group(chain(add.s(1, 1), add.s(2)), add.s(3, 3)))
    case("group of one chain that ends in a group", group(chain(add.s(1, 1), group(add.s(2), add.s(3)))))
    case("group of a chord", group(chord([add.s(1, 1), add.s(2, 2)], tsum.s()), add.s(3, 3)))
    case("empty group", group())
    case("chain that ends in a group", chain(add.s(1, 1), group(add.s(2), add.s(3))))
    case("chain with a group of one", chain(add.s(1, 1), group(add.s(2)), add.s(3)))
    case("chain with an empty group", chain(add.s(1, 1), group(), add.s(3)))
    case("group in the middle of a chain", chain(add.s(1, 1), group(add.s(2), add.s(3)), tsum.s(), add.s(4)))
    case("two groups in a chain", chain(add.s(1, 1), group(add.s(2), add.s(3)), group(tsum.s(), tsum.s())))
    case("chord", chord([add.s(1, 1), add.s(2, 2)], tsum.s()))
    case("chord with an id", chord([add.s(1, 1), add.s(2, 2)], tsum.s()), task_id="body")
    case("chord with partial arguments", chord([add.s(1), add.si(2, 2)], tsum.s()), (5,))
    case("chord of one", chord([add.s(1, 1)], tsum.s()))
    case("chord with an empty header", chord([], tsum.s()))
    case("chord with options", chord([add.s(1, 1), add.s(2, 2)], tsum.s()), priority=4)
    case("chord with links", chord([add.s(1, 1), add.s(2, 2)], tsum.s()), link=add.s(1), link_error=errback.s())
    case("group and a task", group(add.s(1, 1), add.s(2, 2)) | tsum.s())
    case("group and two tasks", group(add.s(1, 1), add.s(2, 2)) | tsum.s() | add.s(3))
    case("chord with a chain as its body", chord([add.s(1, 1), add.s(2, 2)], chain(tsum.s(), add.s(3))))
    case("chord of chains", chord([chain(add.s(1, 1), add.s(2)), chain(add.s(3, 3), add.s(4))], tsum.s()))
    case("chord with a group in its header", chord([add.s(1, 1), group(add.s(2, 2), add.s(3, 3)), add.s(4, 4)], tsum.s()))
    case("chord with a chain that ends in a group", chord([chain(add.s(1, 1), group(add.s(2), add.s(3))), add.s(4, 4)], tsum.s()))
    case("chord in a chord", chord([chord([add.s(1, 1), add.s(2, 2)], tsum.s()), add.s(3, 3)], tsum.s()))
    case("chord with a group as its body", chord([add.s(1, 1), add.s(2, 2)], group(tsum.s(), tsum.s())))
    case("chord with a chord as its body", chord([add.s(1, 1), add.s(2, 2)], chord([tsum.s(), tsum.s()], tsum.s())))
    case("chain with a chord in the middle", chain(add.s(1, 1), chord([add.s(2), add.s(3)], tsum.s()), add.s(4)))
    case("chain of two chords", chain(chord([add.s(1, 1), add.s(2, 2)], tsum.s()), chord([add.s(3), add.s(4)], tsum.s())))
    case("chord in a group in a chain", chain(add.s(1, 1), group(chord([add.s(2), add.s(3)], tsum.s()), add.s(4)), tsum.s()))
    case("deep", chain(add.s(1, 1), group(chain(add.s(2), group(add.s(3), add.s(4)), tsum.s()), add.s(5)), tsum.s(), group(add.s(6), add.s(7))))
    case("map", add.map([[1], [2]]))
    case("starmap", add.starmap([[1, 2], [3, 4]]))
    case("chunks", add.chunks([[1, 2], [3, 4], [5, 6]], 2))
    case("sent by a worker", chain(add.s(1, 1), group(add.s(2), add.s(3))), root_id="root", parent_id="parent")
    case("group sent by a worker", group(add.s(2), add.s(3)), (1,), root_id="root", parent_id="parent", chain=[])
    case("chord sent by a worker", chord([add.s(2), add.s(3)], tsum.s()), (1,), root_id="root", parent_id="parent", chain=[data(add.s(4).set(task_id="c"))])
    stamped = chain(add.s(1, 1), group(add.s(2), add.s(3)))
    stamped.stamp(tenant="acme")
    case("stamped", stamped)


if __name__ == "__main__":
    record()
    versions = {"celery": celery.__version__, "kombu": kombu.__version__}
    (HERE / "canvas.json").write_text(json.dumps({"recordedWith": versions, "cases": cases}) + "\n")
    print("recorded", len(cases), "cases with", versions)
