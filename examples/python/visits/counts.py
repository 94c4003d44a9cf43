"""counts: how often something happened, by name."""

import json
import threading


class Counts:
    def __init__(self) -> None:
        self._lock = threading.Lock()  # handlers run on several threads
        self._by_name: dict[str, int] = {}

    def add(self, name: str) -> int:
        with self._lock:
            self._by_name[name] = self._by_name.get(name, 0) + 1
            return self._by_name[name]

    def dump(self) -> bytes:
        return json.dumps(self._by_name).encode()

    def restore(self, dumped: bytes) -> None:
        self._by_name = json.loads(dumped)
