"""bench/report.py -- the table: medians and spread beside targets and the committed reference; results as files."""
import datetime
import json
import os
import platform
import statistics

from lines import TRACKED, table

TRIFLE = 0.03  # what is measured once has no spread


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_unit(value, unit):
    if unit == "B":
        for size, name in ((2 ** 20, "MiB"), (2 ** 10, "KiB")):
            if value >= size:
                return f"{value / size:.3g} {name}"
        return f"{value:.0f} B"
    return f"{number(value)} {unit}".rstrip()


def rows_of(samples, peers, reference):
    """One dictionary for each line that was measured."""
    rows = []
    for line in table(peers):
        values = line.values(samples)
        if not values:
            continue
        row = {"key": line.key, "text": line.text, "unit": line.unit, "target": line.target,
               "limit": line.at_most if line.at_most is not None else line.at_least,
               "median": statistics.median(values), "low": min(values), "high": max(values)}
        row["reached"] = line.reached(samples, row["median"])
        if tracked := line.values(samples, TRACKED):
            row["tracked"] = statistics.median(tracked)
        if before := line.against_before(samples):
            row["before"] = statistics.median(before)
        row["moved"] = moved(row, reference.get(line.key))
        rows.append(row)
    return rows


def moved(row, reference):
    """How much of the reference the median is, if the spreads do not meet and it is not a trifle; else None."""
    if not reference or not reference["median"]:
        return None
    apart = row["low"] > reference["high"] or row["high"] < reference["low"]
    times = row["median"] / reference["median"]
    return times if apart and abs(times - 1) > TRIFLE else None


def table_text(rows):
    """Markdown, aligned to be read as it is."""
    extra = [name for name in ("tracked", "before") if any(name in row for row in rows)]
    head = ["what", "median", "spread", *({"before": "to before"}.get(name, name) for name in extra), "target", "",
            "since the reference"]
    lines = [head]
    for row in rows:
        verdict = {True: "reached", False: "MISSED", None: ""}[row["reached"]]
        lines.append([row["text"], with_unit(row["median"], row["unit"]),
                      f"{with_unit(row['low'], row['unit'])} – {with_unit(row['high'], row['unit'])}",
                      *(cell(row, name) for name in extra), target_text(row), verdict,
                      f"moved, ×{row['moved']:.2f}" if row["moved"] else ""])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |" for line in lines)


def cell(row, name):
    if name not in row:
        return ""
    return f"{row[name]:.2f} ×" if name == "before" else with_unit(row[name], row["unit"])


def target_text(row):
    if row["unit"] == "B" and row["target"]:
        sign, value, _ = row["target"].split()
        return f"{sign} {with_unit(float(value), 'B')}"
    return row["target"]


def figures_text(samples):
    """All medians, absolute, by load and contestant."""
    lines = []
    for load, contestants in samples.loads.items():
        lines.append(f"\n## {load}\n")
        for name, turns in contestants.items():
            cells = (f"{metric} {number(statistics.median(samples.values(load, name, metric)))}" for metric in turns[0])
            lines.append(f"- **{name}** " + ", ".join(cells))
    return "\n".join(lines) + "\n"


def machine():
    model = ""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processors": len(os.sched_getaffinity(0)), "model": model, "kernel": platform.release(),
            "load": os.getloadavg()[0], "date": datetime.date.today().isoformat()}


def machine_text():
    here = machine()
    return f"{here['processors']} processors, {here['model']}, load {here['load']:.1f}"


def load_reference(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["lines"]
    except FileNotFoundError:
        return {}


def save_reference(path, rows):
    """Keeps lines that this run has not measured."""
    lines = load_reference(path)
    for row in rows:
        lines[row["key"]] = {name: float(f"{row[name]:.4g}") for name in ("median", "low", "high")}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"machine": machine(), "lines": lines}, file, indent=1)
        file.write("\n")


def save_results(folder, rows, samples):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"machine": machine(), "lines": rows, "samples": samples.loads}, file, indent=1)
    with open(os.path.join(folder, "table.md"), "w", encoding="utf-8") as file:
        file.write(table_text(rows) + "\n")
    with open(os.path.join(folder, "figures.md"), "w", encoding="utf-8") as file:
        file.write("# Medians\n" + figures_text(samples))
