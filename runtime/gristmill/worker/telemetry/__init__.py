"""What a worker tells of itself: counters, accounting, what it does now, traces."""
