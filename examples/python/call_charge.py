from shop_errors import CardDeclined
from tasks import app

# region catch
try:
    app.send_task("node.charge", args=[200_00]).get(timeout=10)
except CardDeclined as error:
    print("declined:", error)  # declined: over the limit
# endregion
