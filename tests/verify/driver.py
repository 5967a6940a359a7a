"""Prints what the snippet says about each request: JSON in, two booleans out."""
import base64
import json
import sys

from snippet import verify, verify_x

for line in sys.stdin:
    case = json.loads(line)
    raw_body, headers = base64.b64decode(case["body"]), case["headers"]
    results = verify(case["secret"], headers, raw_body), verify_x(case["secret"], headers["x-signature"], raw_body)
    print(*(str(result).lower() for result in results))
