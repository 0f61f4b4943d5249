"""Results as Celery's own Redis backend stores, reads and awaits them. Reads {"url", "prefix", "do"} from standard input, prints JSON lines."""
import json
import sys

from celery import Celery
from celery.result import GroupResult

order = json.load(sys.stdin)
app = Celery(backend=order["url"])
app.conf.update(
    result_backend_transport_options={"global_keyprefix": order["prefix"]} if order.get("prefix") else {},
    result_serializer=order.get("serializer", "json"),
    accept_content=["json", "msgpack", "yaml"],
    result_extended=order.get("extended", False),
    **({"result_compression": order["compression"]} if "compression" in order else {}),
)


def store():
    for item in order["metas"]:
        result = item["result"]
        if item["status"] in ("FAILURE", "RETRY", "REVOKED"):
            result = ValueError(result)
        elif result == "huge":
            result = {"int": 2**70, "nan": float("nan"), "inf": float("-inf"), "text": "ü😀"}
        app.backend.store_result(item["id"], result, item["status"], traceback=item.get("traceback"))


def read():
    found = {}
    for task_id in order["ids"]:
        result = app.AsyncResult(task_id)
        value = result.result
        found[task_id] = {
            "status": result.status,
            "result": [type(value).__module__, type(value).__name__, list(value.args)] if isinstance(value, Exception) else value,
            "traceback": result.traceback,
            "children": [child.id for child in result.children or []],
            "date_done": result.date_done.isoformat() if result.date_done else None,
            "name": result.name,
            "args": result.args,
            "kwargs": result.kwargs,
            "worker": result.worker,
            "retries": result.retries,
            "queue": result.queue,
        }
    return found


def wait():
    results = [app.AsyncResult(task_id) for task_id in order["ids"]]
    for result in results:
        app.backend.add_pending_result(result)
    print(json.dumps("waiting"), flush=True)
    return [result.get(timeout=20) for result in results]


def groups():
    GroupResult("python-group", [app.AsyncResult("a"), app.AsyncResult("b")], app=app).save()
    restored = GroupResult.restore("node-group", app=app)
    return [child.id for child in restored.results] if restored else None


def version():
    import celery

    return celery.__version__


print(json.dumps({"version": version, "store": store, "read": read, "wait": wait, "groups": groups}[order["do"]]()))
