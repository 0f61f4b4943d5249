"""Celery's own Receiver and State. Each event is a line of JSON on standard output; on end of input, the state is one more line."""

import json
import sys
import threading

from interop_app import app

state = app.events.State()
connection = app.connection_for_read()


def wait_for_end():
    sys.stdin.read()
    receiver.should_stop = True


def take(event):
    # Before: State adds fields of its own.
    print(json.dumps(event), flush=True)
    state.event(event)


class Monitor(app.events.Receiver):
    def on_consume_ready(self, *args, **kwargs):
        super().on_consume_ready(*args, **kwargs)
        print(json.dumps({"type": "listening"}), flush=True)


with connection:
    receiver = Monitor(connection, handlers={"*": take})
    threading.Thread(target=wait_for_end, daemon=True).start()
    receiver.capture(limit=None, timeout=None, wakeup=True)

print(
    json.dumps(
        {
            "type": "state",
            "workers": {name: {"alive": worker.alive, "sw_ident": worker.sw_ident} for name, worker in state.workers.items()},
            "tasks": {
                task.uuid: {"state": task.state, "name": task.name, "args": task.args, "kwargs": task.kwargs, "result": task.result, "worker": task.hostname}
                for task in state.tasks.values()
            },
        }
    ),
    flush=True,
)
