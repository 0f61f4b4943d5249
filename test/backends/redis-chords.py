"""Parts of chords as Celery's own Redis backend counts them. Reads {"url", "steps", ...} from standard input, prints the bodies that were published."""
import base64
import json
import sys
from types import SimpleNamespace

from celery import Celery
from celery.canvas import Signature

order = json.load(sys.stdin)
app = Celery(broker=order["url"], backend=order["url"])
app.conf.update(
    result_backend_transport_options={"result_chord_ordered": order.get("ordered", True)},
    task_default_queue="bodies",
)
body = Signature("body", app=app, options={"task_id": "body-id"})

for step in order["steps"]:
    if "size" in step:
        app.backend.set_chord_size(order["group"], step["size"])
    elif "grow" in step:
        app.backend.add_to_chord(order["group"], None)
    elif "group" in step:
        app.GroupResult(order["group"], [app.AsyncResult(i) for i in step["group"]]).save()
    else:
        request = SimpleNamespace(id=step["id"], group=order["group"], group_index=step["index"], chord=dict(body), errbacks=None)
        result = ValueError(step["result"]) if step.get("state") == "FAILURE" else float(step["result"]) if step.get("float") else step["result"]
        app.backend.on_chord_part_return(request, step.get("state", "SUCCESS"), result)

published = []
while message := app.backend.client.rpop("bodies"):
    published.append(json.loads(base64.b64decode(json.loads(message)["body"]))[0])
print(json.dumps(published))
