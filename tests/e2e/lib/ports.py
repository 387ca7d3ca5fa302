"""tests/e2e/lib/ports.py -- addresses and ports nobody else uses; several tests run at the same time."""
import random
import socket


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def free_ports(count, address="127.0.0.1"):
    """Different ports; they are held together until all are known."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((address, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def loopback_address(port=3307):
    """An address of 127/8 on which `port` is free: Cloud SQL's 3307 is fixed, so tests differ by address."""
    generator = random.SystemRandom()
    while True:
        address = f"127.{generator.randint(16, 250)}.{generator.randint(0, 255)}.{generator.randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
                return address
            except OSError:
                continue
