"""bench/measure -- what bench/run measures, one subject a module."""
