"""What several tests need: actors, conditions with deadlines, scripts, traces of a run."""
