"""Where keyed actors live and how they move, and how large a pool is. Pure."""
