# tests/checks/headers.py ROOT BUILD -- every header compiles alone.
#
# A header that its own .cpp includes before anything else is proven by the build. The others are compiled here, syntax only,
# with the flags of a source of the same folder (or of the nearest one above that has any).
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

root, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
FOLDERS = ("protocol", "pool", "conf", "src", "tests", "bench")
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.M)


def flags_by_folder():
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        if os.path.basename(words[0]) == "ccache":
            words = words[1:]
        keep, skip = [], False
        for word in words:
            if skip:
                skip = False
            elif word == "-o":
                skip = True
            elif word != "-c" and word != entry["file"]:
                keep.append(word)
        found.setdefault(pathlib.Path(entry["file"]).parent, keep)
    return found


def first_include(path):
    match = INCLUDE.search(path.read_text())
    return match.group(1) if match else None


def compile_alone(header, flags):
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        # Twice: a missing guard shows.
        source.write(f'#include "{header}"\n#include "{header}"\n')
        source.flush()
        done = subprocess.run(flags + ["-fsyntax-only", source.name], cwd=build, capture_output=True, text=True)
    return header, done.returncode, done.stderr


def main():
    by_folder = flags_by_folder()
    jobs, proven, wrong = [], 0, []
    headers = sorted(h for f in FOLDERS for h in (root / f).rglob("*.h"))
    for header in headers:
        name = header.relative_to(root).as_posix()
        text = header.read_text()
        if "#pragma once" not in text:
            wrong.append(f"{name}: no #pragma once")
        title = re.match(r"// (\S+) -- \S", text)
        if not title or not name.endswith(title.group(1)):
            wrong.append(f"{name}: the first line must be `// {name} -- what it is for`")
        source = header.with_suffix(".cpp")
        if source.exists() and first_include(source) == name:
            proven += 1
            continue
        folder = header.parent
        while folder not in by_folder and folder != root:
            folder = folder.parent
        flags = by_folder.get(folder) or next(iter(by_folder.values()))
        jobs.append((name, flags))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for name, code, errors in pool.map(lambda job: compile_alone(*job), jobs):
            if code != 0:
                wrong.append(f"{name} does not compile alone:\n{errors}")
    print(f"{len(headers)} headers: {proven} proven by their own source, {len(jobs)} compiled here")
    for line in wrong:
        print(line)
    return 1 if wrong or not headers else 0


sys.exit(main())
