"""A Python client that lives as long as a test file: one JSON command a line on standard input, one JSON answer a line on standard output.

Values of tasks go as kombu JSON inside the lines, so that what has no JSON type arrives as what it is.
"""

import io
import json
import sys
import traceback
from contextlib import redirect_stdout

from canvas_of import canvas_of
from celery import Celery
from celery.result import AsyncResult, GroupResult, result_from_tuple
from interop_app import app
from kombu import Exchange, Queue
from kombu.utils.json import dumps, loads


def signature(given):
    sig = app.signature(given["task"], args=tuple(given.get("args", ())), kwargs=given.get("kwargs", {}), immutable=given.get("immutable", False))
    return sig.set(**given.get("options", {}))


def options_of(text):
    options = loads(text)
    for name in ("link", "link_error"):
        if name in options:
            options[name] = [signature(given) for given in options[name]]
    return options


def send(task, args, kwargs, options, by="name"):
    """`by` is "name" (send_task) or "task" (apply_async of a task that this process has)."""
    args, kwargs, options = tuple(loads(args)), loads(kwargs), options_of(options)
    if by == "task":
        return app.tasks[task].apply_async(args, kwargs, **options).id
    return app.send_task(task, args, kwargs, **options).id


def protocol_1(task, args, kwargs, options):
    """As a client with task_protocol = 1 sends it."""
    return old.send_task(task, tuple(loads(args)), loads(kwargs), **options_of(options)).id


def get(id, timeout):
    result = AsyncResult(id, app=app)
    try:
        value = result.get(timeout=timeout)
    except Exception as error:
        return {"error": described(error), "traceback": result.traceback, "state": result.state}
    return {"value": dumps(value), "repr": repr(value)}


def start_canvas(canvas):
    """Sends a canvas; its result as a tuple."""
    return canvas_of(app, loads(canvas)).apply_async().as_tuple()


def get_canvas(tuple, timeout):
    result = result_from_tuple(tuple, app=app)
    try:
        return {"value": dumps(result.get(timeout=timeout))}
    except Exception as error:
        return {"error": described(error), "traceback": None}


def save_group(tuple):
    result_from_tuple(tuple, app=app).save()


def restored_group(id):
    """A saved group as a tuple, how many of its members have succeeded, and what they gave."""
    result = GroupResult.restore(id, app=app)
    return {"tuple": result.as_tuple(), "completed": result.completed_count(), "value": dumps(result.get(timeout=20))}


def states(id, timeout):
    """All states that a waiting client hears of, with their data, in order."""
    seen = []
    result = AsyncResult(id, app=app)
    try:
        result.get(timeout=timeout, on_message=lambda meta: seen.append({"state": meta["status"], "info": dumps(meta["result"])}))
    except Exception as error:
        seen.append({"state": result.state, "info": dumps(repr(error))})
    return seen


def described(error):
    """What `except` and `pytest.raises` see."""
    try:
        args = dumps(list(error.args))
    except Exception:
        args = dumps([repr(arg) for arg in error.args])
    return {
        "type": type(error).__qualname__,
        "module": type(error).__module__,
        "is": [base.__name__ for base in type(error).__mro__],
        "args": args,
        "message": str(error),
    }


def meta(id):
    result = AsyncResult(id, app=app)
    info = result.info
    return {
        "state": result.state,
        "info": described(info) if isinstance(info, BaseException) else dumps(info),
        "traceback": result.traceback,
        # Celery reads them as results only once the task has ended.
        "children": [child.id for child in result.children or []] if result.ready() else [],
    }


def flood(task, args, options, count):
    """Many calls with ids of their own; the ids."""
    args, options = tuple(loads(args)), loads(options)
    with app.producer_pool.acquire(block=True) as producer:
        return [app.send_task(task, args, producer=producer, **options).id for _ in range(count)]


def revoke(ids, terminate, signal, destination=None):
    app.control.revoke(ids, terminate=terminate, signal=signal, destination=destination)


def ping(timeout):
    """The names of the workers that answer."""
    return [name for answer in app.control.ping(timeout=timeout) for name in answer]


def inspect(command, arguments=None, timeout=2):
    """What each worker answers, by its name."""
    return getattr(app.control.inspect(timeout=timeout), command)(**(arguments or {}))


def broadcast(command, arguments=None, timeout=1, destination=None, pattern=None, matcher=None, limit=None):
    return app.control.broadcast(
        command, arguments=arguments, reply=True, timeout=timeout, destination=destination, pattern=pattern, matcher=matcher, limit=limit
    )


def add_consumer(queue, destination):
    return app.control.add_consumer(queue, destination=destination, reply=True, timeout=5)


def take(queue):
    """Takes one message as a Python consumer does and leaves it unacknowledged, as one that is killed; its delivery tag."""
    held = app.connection_for_read()
    channel = held.channel()
    # The transport of a killed process gives nothing back.
    channel.qos.restore_at_shutdown = False
    channel.do_restore = False
    message = channel.basic_get(queue)
    abandoned.append((held, channel, message))
    return message and message.delivery_tag


def give_back(queue):
    """Takes one message and gives it back, as a Python worker does when it stops or rejects."""
    with app.connection_for_read() as connection:
        channel = connection.channel()
        message = channel.basic_get(queue)
        message.requeue()
        return message.delivery_tag


def store_over(id, state):
    """What a late Python worker does: stores a state for a task that has one; what is stored afterwards."""
    app.backend.store_result(id, None, state)
    return app.backend.get_state(id)


def bind(queue, exchange, type, routing_key, arguments=None):
    """Declares as a Python worker does when it starts."""
    with app.connection_for_write() as connection:
        Queue(queue, Exchange(exchange, type=type), routing_key=routing_key, queue_arguments=arguments).bind(connection.default_channel).declare()


def publish_to(task, exchange, type, routing_key):
    """To an exchange that this connection has declared: kombu knows the types of those only."""
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        Exchange(exchange, type=type).bind(producer.channel).declare()
        return app.send_task(task, exchange=exchange, exchange_type=type, routing_key=routing_key, producer=producer).id


def program(args):
    """What `celery ...args` prints, without the seconds that a program of its own takes to start."""
    from celery.bin.celery import celery

    printed = io.StringIO()
    with redirect_stdout(printed):
        celery.main(args=["-A", "interop_app", *args], standalone_mode=False)
    return printed.getvalue()


def panel():
    """The commands that a worker knows, and of which kind each is."""
    from celery.worker.control import Panel

    return {name: meta.type for name, meta in Panel.meta.items()}


def versions():
    import celery
    import kombu

    return {"celery": celery.__version__, "kombu": kombu.__version__}


old = Celery("old", broker=app.conf.broker_url, backend=app.conf.result_backend)
old.conf.task_protocol = 1
abandoned = []
commands = {f.__name__: f for f in (send, start_canvas, get_canvas, save_group, restored_group, protocol_1, get, states, meta, flood, revoke, ping, inspect, broadcast, add_consumer, take, give_back, store_over, bind, publish_to, program, panel, versions)}

for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = {"ok": commands[command.pop("do")](**command)}
    except Exception:
        answer = {"failed": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
