"""bench/plots.py -- the results as SVG, by matplotlib."""
import os
import statistics

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  (the backend is chosen before)

COLOURS = {True: "tab:green", False: "tab:red", None: "tab:gray"}


def save(folder, name, figure):
    figure.savefig(os.path.join(folder, f"{name}.svg"), bbox_inches="tight")
    pyplot.close(figure)


def medians(samples, loads, metric):
    """{contestant: [median of each load, None where it was not measured]}."""
    names = dict.fromkeys(name for load in loads for name in samples.loads[load])
    found = {}
    for name in names:
        values = [samples.values(load, name, metric) for load in loads]
        if any(any(v) for v in values):
            found[name] = [statistics.median(v) if v else None for v in values]
    return found


def bars(folder, samples, name, metric, title, loads):
    """Groups of bars: a load each, a contestant a bar."""
    loads = [load for load in loads if load in samples.loads]
    found = medians(samples, loads, metric) if loads else {}
    if not found:
        return
    figure, axes = pyplot.subplots(figsize=(1.5 + 1.8 * len(loads), 4))
    width = 0.8 / len(found)
    for i, (contestant, values) in enumerate(found.items()):
        places = [group + i * width for group in range(len(loads))]
        axes.bar(places, [value or 0 for value in values], width, label=contestant)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(loads))], loads)
    axes.set_title(title)
    axes.legend(fontsize="small")
    save(folder, name, figure)


def targets(folder, rows):
    """Each line as a share of its target: left of 1 is reached, for lines that want much, too."""
    judged = [row for row in rows if row["reached"] is not None]
    if not judged:
        return
    figure, axes = pyplot.subplots(figsize=(8, 0.5 + 0.35 * len(judged)))
    for place, row in enumerate(reversed(judged)):
        limit = row["limit"]
        low, middle, high = sorted(limit / row[name] if row["target"].startswith("≥") else row[name] / limit
                                   for name in ("low", "median", "high"))
        axes.barh(place, middle, color=COLOURS[row["reached"]])
        axes.plot([low, high], [place, place], color="black", linewidth=1)
    axes.axvline(1, color="black", linestyle="dashed")
    axes.set_yticks(range(len(judged)), [row["text"] for row in reversed(judged)])
    axes.set_xlabel("share of the target (1: just reached, less is better)")
    save(folder, "targets", figure)


def save_all(folder, rows, samples):
    select = [load for load in samples.loads if load.split("/")[0] in ("simple", "extended", "prepared", "pipeline")]
    targets(folder, rows)
    bars(folder, samples, "cpu", "cpu", "CPU per transaction, µs", [*select, "tls/10", "stack/10"])
    bars(folder, samples, "throughput", "tps", "transactions per second", [*select, "tls/10", "stack/10"])
    for quantile in ("p50", "p99", "p99.9", "longest"):
        bars(folder, samples, f"latency-{quantile}", quantile, f"{quantile}, µs", ["rate/10", *select])
    bars(folder, samples, "large", "MB_per_second", "MB per second",
         ["result/10MB", "copy-out/10MB", "copy-in/10MB", "result/1GB"])
    bars(folder, samples, "idle", "idle", "memory of an idle client, bytes", ["idle/plain", "idle/tls"])
    bars(folder, samples, "connect", "tps", "connections per second", ["connect/SCRAM", "connect/IAM"])
    bars(folder, samples, "cold-start", "ms", "cold start to first row, ms", ["cold start"])
