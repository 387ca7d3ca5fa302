"""bench/measure -- what bench/compare measures, one subject a module."""
