"""An OpenTelemetry collector on this machine: it parses what it gets."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """What was received.

    Attributes:
        url: to send to.
        requests: parsed, in order.
        headers: of each.
    """

    def __init__(self, url):
        self.url = url
        self.requests = []
        self.headers = []

    def points(self, name, request=-1):
        """Values of a metric in a request, by its attributes."""
        found = {}
        for resource in self.requests[request].resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        kind = metric.WhichOneof("data")
                        for point in getattr(metric, kind).data_points:
                            found[plain(point.attributes)] = point.as_double
        return found

    def metric(self, name):
        (one,) = {
            metric.name: metric
            for resource in self.requests[-1].resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        }.values()
        return one

    def resource(self):
        return dict(plain(self.requests[-1].resource_metrics[0].resource.attributes))


def plain(attributes):
    return tuple(sorted((one.key, one.value.string_value) for one in attributes))


@contextmanager
def receiving(status=200):
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.headers.append(dict(self.headers))
            receiver.requests.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(status if self.path == "/v1/metrics" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
