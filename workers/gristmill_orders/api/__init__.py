"""The service API: HTTP/JSON and gRPC in front of the order service, one set of operations."""
