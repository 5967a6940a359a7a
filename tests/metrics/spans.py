"""Parses OTLP export requests, one per line, with OpenTelemetry's protobuf definitions; fails at the first
invalid one. OTLP's JSON differs from protobuf's JSON mapping in one thing: ids are hex, not base64."""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LENGTHS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def with_ids(value):
    if isinstance(value, list):
        return [with_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    converted = {}
    for name, item in value.items():
        if name in LENGTHS:
            raw = bytes.fromhex(item)
            assert len(raw) == LENGTHS[name] and any(raw), f"{name} is {item}"
            item = base64.b64encode(raw).decode()
        converted[name] = with_ids(item)
    return converted


for line in sys.stdin:
    request = json_format.ParseDict(with_ids(json.loads(line)), ExportTraceServiceRequest())
    for resource in request.resource_spans:
        names = {attribute.key for attribute in resource.resource.attributes}
        assert "service.name" in names, names
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert span.name and 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
                print(span.name)
