"""Behaviours: the patterns that actors follow, and what a handler sees of the runtime."""
