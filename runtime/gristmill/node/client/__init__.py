"""The client's side of a node: its end of the control plane, its post, and who waits for what."""
