from tasks import app

slug = app.signature("node.slug")
print(slug.delay("Hello, World").get(timeout=10))  # hello-world
print(slug.delay("Hello, World", separator="_").get(timeout=10))  # hello_world

try:
    app.send_task("node.slug", kwargs={"name": "Hello"}).get(timeout=10)
except TypeError as error:
    print(error)  # unknown parameter
