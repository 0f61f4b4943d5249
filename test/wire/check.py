"""What real Python Celery makes of our bytes: JSON on standard input, JSON on standard output (test/wire/both-ways.test.ts)."""

import base64
import json
import sys

from celery import Celery
from celery.app.task import Context
from celery.result import result_from_tuple
from celery.utils.saferepr import saferepr
from celery.worker.request import Request
from kombu.message import Message
from kombu.serialization import loads
from kombu.utils.json import dumps as kombu_dumps
from kombu.utils.json import loads as kombu_loads

app = Celery("check", broker="memory://", backend="cache+memory://")
accept = {"application/json", "application/x-msgpack", "application/x-yaml"}


@app.task(name="t.add")
def add(*args, **kwargs):
    return None


def message(given):
    """A worker's view of a task message."""
    received = Message(
        body=base64.b64decode(given["body"]),
        content_type=given["contentType"],
        content_encoding=given["contentEncoding"],
        headers=given["headers"],
        properties=given["properties"],
        delivery_info={"exchange": "", "routing_key": "celery", "priority": given["properties"].get("priority")},
        accept=accept,
    )
    args, kwargs, embed = received.payload
    request = Request(received, app=app, task=add, hostname="w@h", on_ack=lambda *a: None, on_reject=lambda *a: None)
    return {
        "id": request.id,
        "task": request.request_dict["task"],
        "name": request.name,
        "args": repr(args),
        "kwargs": repr(kwargs),
        "embed": json.loads(kombu_dumps(embed)),
        "eta": request.eta and request.eta.timestamp(),
        "expires": request.expires and request.expires.timestamp(),
        "timeLimits": list(request.time_limits),
        "group": request.group,
        "groupIndex": request.group_index,
        "rootId": request.root_id,
        "parentId": request.parent_id,
        "retries": request.request_dict["retries"],
        "ignoreResult": request.request_dict["ignore_result"],
        "stamps": request.stamps,
        "replyTo": request.reply_to,
        "correlationId": request.correlation_id,
        "argsrepr": request.argsrepr,
        "kwargsrepr": request.kwargsrepr,
        "headers": Context(request.request_dict).headers,
    }


def text(given):
    """A JSON text, read and written again."""
    value = kombu_loads(given)
    return {"repr": repr(value), "text": kombu_dumps(value)}


def body(given):
    """A body of any serializer."""
    return repr(loads(base64.b64decode(given["body"]), given["contentType"], given["contentEncoding"], accept=accept))


def meta(given):
    """A stored result, as a client's AsyncResult sees it."""
    decoded = app.backend.meta_from_decoded(app.backend.decode(given))
    result = decoded["result"]
    seen = {"status": decoded["status"], "taskId": decoded["task_id"], "children": repr([result_from_tuple(child, app) for child in decoded["children"]])}
    if isinstance(result, BaseException):
        return {**seen, "error": f"{type(result).__module__}.{type(result).__qualname__}", "args": [repr(arg) for arg in result.args], "message": str(result)}
    return {**seen, "result": repr(result)}


def shown(given):
    """A value as Celery shows it in argsrepr."""
    return saferepr(kombu_loads(given), 1024)


kinds = {"repr": shown, "message": message, "text": text, "body": body, "meta": meta}
print(json.dumps([kinds[kind](given) for kind, given in json.load(sys.stdin)]))
