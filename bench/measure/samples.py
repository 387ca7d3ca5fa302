"""bench/measure/samples.py -- what was measured: figures of each turn, by load and contestant."""
import sys
import time


class Samples:
    def __init__(self):
        self.loads = {}  # {load: {contestant: [figures of each turn]}}
        self._begin = time.monotonic()

    def add(self, load, contestant, figures):
        self.loads.setdefault(load, {}).setdefault(contestant, []).append(figures)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items()
                          if name in ("cpu", "tps", "p50", "p99", "MB_per_second", "ms", "idle"))
        print(f"{time.monotonic() - self._begin:5.0f} s  {load:<24} {contestant:<16} {shown}", file=sys.stderr, flush=True)

    def values(self, load, contestant, metric):
        """One of each turn; none where it was not measured."""
        return [figures[metric] for figures in self.loads.get(load, {}).get(contestant, []) if metric in figures]

    def in_turns(self, turns, runs):
        """`runs`: (load, contestant, function that gives figures). Every other turn goes backwards, so nobody is always
        first; what disturbs a turn disturbs all that is compared."""
        for turn in range(turns):
            for load, contestant, run in runs if turn % 2 == 0 else list(reversed(runs)):
                self.add(load, contestant, run())
