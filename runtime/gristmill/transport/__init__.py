"""The wire: bodies, envelopes, the data plane and the control plane. All that knows ZeroMQ."""
