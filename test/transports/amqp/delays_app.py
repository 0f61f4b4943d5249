"""A Python worker, and a caller, whose one queue is a quorum queue on a topic exchange: what Celery declares for it, and how it delays."""

import sys

from celery import Celery
from kombu import Exchange, Queue

app = Celery("delays", broker=sys.argv[1])
app.conf.update(
    task_queues=[Queue("slow", Exchange("shop", type="topic"), routing_key="shop.slow", queue_arguments={"x-queue-type": "quorum"})],
    task_default_queue="slow",
    task_default_exchange="shop",
    task_default_exchange_type="topic",
    task_default_routing_key="shop.slow",
    broker_connection_retry_on_startup=True,
)


@app.task(name="delays.note")
def note(word):
    print("ran", word, flush=True)


if sys.argv[2] == "worker":
    app.worker_main(["worker", "--pool", "solo", "--without-gossip", "--without-mingle", "-l", "INFO"])
else:
    note.apply_async(["python"], countdown=float(sys.argv[3]))
