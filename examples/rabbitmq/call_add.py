from celery import Celery

app = Celery("hello", broker="amqp://localhost", backend="rpc://")
print(app.send_task("add", args=[2, 3]).get(timeout=10))  # 5
