"""How a worker hands its place over to another process, and how it leaves."""
