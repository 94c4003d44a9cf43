"""What `hrmr reload` makes of the answer."""

import pytest
from hrmr.reload_table import read_answer

ANSWER = """\
failed orders: SyntaxError: '(' was never closed (orders.py, line 7) (generation 3 serves on) \
(0.4 ms)
failed new: cannot open new.so: Permission denied (0.1 ms)
loaded users generation 1 in 12.5 ms
reloaded http generation 9 -> 10 in 2.0 ms; note: generation 9 is still in use by 1 request
removed old generation 2 in 0.0 ms
unchanged echo generation 1
ERR 2 failed, 1 loaded, 1 reloaded, 1 removed, 1 unchanged in 15.3 ms
"""


def test_shows_a_row_for_each_module_and_below_it_what_is_to_be_said() -> None:
    answer = read_answer(ANSWER)
    assert answer is not None
    assert not answer.ok
    assert answer.lines() == [
        "MODULE  RESULT     GENERATION    MS",
        "orders  failed              3   0.4",
        "  SyntaxError: '(' was never closed (orders.py, line 7) (generation 3 serves on)",
        "new     failed                  0.1",
        "  cannot open new.so: Permission denied",
        "users   loaded              1  12.5",
        "http    reloaded      9 -> 10   2.0",
        "  note: generation 9 is still in use by 1 request",
        "old     removed             2   0.0",
        "echo    unchanged           1",
        "2 failed, 1 loaded, 1 reloaded, 1 removed, 1 unchanged in 15.3 ms",
    ]


def test_an_answer_without_modules_is_its_sum() -> None:
    answer = read_answer("OK no modules in 0.0 ms\n")
    assert answer is not None
    assert answer.ok
    assert answer.lines() == ["no modules in 0.0 ms"]


def test_the_sum_may_say_what_stays_in_memory() -> None:
    text = "OK 1 unchanged in 0.1 ms; 3 old generations cannot be unloaded"
    answer = read_answer(f"unchanged a generation 4\n{text}\n")
    assert answer is not None
    assert answer.lines()[-1] == text.removeprefix("OK ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OK\n",
        "503 busy\n",
        "ERR RELOAD is taken from this machine only; to take it from anywhere, ...\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "something new about a module\nOK 1 something in 0.0 ms\n",
    ],
)
def test_leaves_alone_what_is_no_such_answer(text: str) -> None:
    assert read_answer(text) is None
