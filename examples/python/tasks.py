from celery import Celery

app = Celery("shop", broker="redis://localhost:6379/0", backend="redis://localhost:6379/0")
app.conf.task_default_queue = "python"
app.conf.task_routes = {"node.*": {"queue": "node"}}


@app.task(name="python.mean")
def mean(numbers):
    if not numbers:
        raise ValueError("no numbers")
    return sum(numbers) / len(numbers)
