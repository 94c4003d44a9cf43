"""Clients that ask all the time, in a process of their own: they share no GIL with the test.

Run as a program: PORT and, as JSON, the questions with the answers that are right. Ends when its
input does, and then prints what it saw.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Self

from wire_client import DEADLINE_S, Client, http_request

# Several at once, so that batches and pipelines are met by a reload too.
PIPELINED = 5


class Traffic:
    """In a test: clients that ask while the `with` lasts, each on one connection that must never
    break.

    questions: a line, or a path that begins with "/", and the answers that are right. Behind the
    `with`, `faults` says what was wrong and `answers` what was ever answered.
    """

    def __init__(self, port: int, questions: Mapping[str, set[str]]) -> None:
        self.faults: list[str] = []
        self.answers: set[str] = set()
        allowed = {question: sorted(answers) for question, answers in questions.items()}
        self._command = [sys.executable, __file__, str(port), json.dumps(allowed)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "asking\n"
        return self

    def __exit__(self, *_: object) -> None:
        output, _ = self._process.communicate(timeout=DEADLINE_S)
        seen = json.loads(output)
        self.faults += seen["faults"]
        self.answers |= set(seen["answers"])


class Asker:
    """One question, asked again and again by a thread of the program."""

    def __init__(self, port: int, question: str, allowed: list[str]) -> None:
        self.faults: list[str] = []
        self.answers: set[str] = set()
        self._port = port
        self._question = question
        self._allowed = set(allowed)
        self.has_begun = threading.Event()

    def run(self, ends: threading.Event) -> None:
        try:
            with Client(self._port) as client:
                while not ends.is_set() and not self.faults:
                    self._ask(client)
        except (OSError, EOFError, ValueError) as error:
            self.faults.append(f"{self._question}: {error!r}")
        self.has_begun.set()

    def _ask(self, client: Client) -> None:
        is_path = self._question.startswith("/")
        request = http_request(self._question) if is_path else f"{self._question}\n".encode()
        client.send(request * PIPELINED)
        for _ in range(PIPELINED):
            if is_path:
                response = client.read_response()
                answer = f"{response.status} {response.text}"
            else:
                answer = client.read_line()
            self.answers.add(answer)
            if answer not in self._allowed:
                self.faults.append(f"{self._question}: {answer!r}")
        self.has_begun.set()


def main(port: int, questions: dict[str, list[str]]) -> None:
    ends = threading.Event()
    askers = [Asker(port, question, allowed) for question, allowed in questions.items()]
    running = [threading.Thread(target=asker.run, args=(ends,)) for asker in askers]
    for thread in running:
        thread.start()
    for asker in askers:
        asker.has_begun.wait()
    print("asking", flush=True)
    sys.stdin.read()
    ends.set()
    for thread in running:
        thread.join()
    faults = [fault for asker in askers for fault in asker.faults]
    answers = sorted({answer for asker in askers for answer in asker.answers})
    print(json.dumps({"faults": faults, "answers": answers}))


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
