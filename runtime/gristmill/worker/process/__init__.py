"""The process around a worker's core: sockets, clock, event loop, output."""
