"""tests/e2e/lib/memory.py -- what is in the memory of a program under test."""


def copies(pid, text):
    """How often `text` is in the writable memory of the process, as far as it may be read."""
    wanted = text.encode()
    found = seen = 0
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(start)
                bytes_read = memory.read(end - start)
            except (OSError, ValueError):
                continue  # gone meanwhile
            seen += len(bytes_read)
            found += bytes_read.count(wanted)
    assert seen > 0, f"the memory of process {pid} cannot be read"
    return found
