from celery import Celery

app = Celery("hello", broker="redis://localhost:6379/0", backend="redis://localhost:6379/0")
print(app.send_task("add", args=[2, 3]).get(timeout=10))  # 5
