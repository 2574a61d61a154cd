"""What a worker's actors send: asks, tells, at-least-once messages, events."""
