"""Sends one call of every type with the Python SDK of Segment or RudderStack:

    python send.py SDK HOST WRITE_KEY PREFIX

prints {"sdk", "sent": [{"type", "messageId"}], "failed": []} once all are acknowledged.
"""

import importlib
import json
import sys

MODULES = {
    "segment-analytics-python": "segment.analytics",
    "rudder-sdk-python": "rudderstack.analytics",
}

if len(sys.argv) != 5 or sys.argv[1] not in MODULES:
    sys.exit("usage: python send.py SDK HOST WRITE_KEY PREFIX")

sdk, host, write_key, prefix = sys.argv[1:]
analytics = importlib.import_module(MODULES[sdk])
analytics.host, analytics.write_key = host, write_key
analytics.gzip = True
failed = []
analytics.on_error = lambda error, items: failed.append(f"{error}: {len(items)} events")

calls = {
    "track": lambda id: analytics.track(
        "u-2", "Größe gewählt", {"10": "ten", "2": "two", "price": 1e21, "tiny": 1e-7}, message_id=id
    ),
    "identify": lambda id: analytics.identify(
        "u-2", {"email": "someone@example.com", "plan": None, "list": [1, 2.0, -0.0]}, message_id=id
    ),
    "page": lambda id: analytics.page(
        "u-2", "Docs", "Home", {"url": "https://example.com/?a=1&b=<2>"}, message_id=id
    ),
    "screen": lambda id: analytics.screen("u-2", None, "Start", {"width": 320}, message_id=id),
    "group": lambda id: analytics.group("u-2", "g-2", {"name": "Example"}, message_id=id),
    "alias": lambda id: analytics.alias("a-2", "u-2", message_id=id),
}

sent = []
for kind, call in calls.items():
    message_id = f"{prefix}-{kind}"
    result = call(message_id)
    if isinstance(result, tuple) and not result[0]:
        failed.append(f"{kind}: the SDK's queue is full")
    sent.append({"type": kind, "messageId": message_id})

analytics.shutdown()
print(json.dumps({"sdk": sdk, "sent": sent, "failed": failed}))
sys.exit(1 if failed else 0)
