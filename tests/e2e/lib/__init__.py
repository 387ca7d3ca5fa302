"""tests/e2e/lib -- what the end-to-end tests share: PostgreSQL, the emulator, processes under test, peers."""
