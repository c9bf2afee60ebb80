import io

import pytest
from rich.console import Console

from harness.progress import PLAIN_EVERY_S, PlainEvents, TerminalEvents

HIDE_CURSOR, SHOW_CURSOR, ERASE_LINE = "\x1b[?25l", "\x1b[?25h", "\x1b[2K"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def plain(clock: Clock, lines: list[str]) -> PlainEvents:
    return PlainEvents(lines.append, clock)


def test_a_line_has_share_rate_and_time_left(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("answering", 1000, "answers")
    plain.advance(0, 1000)
    clock.now = PLAIN_EVERY_S
    plain.advance(250, 1000, "3/8 cells")
    assert lines == ["answering: 250/1000 answers (25%), 25.0/s, 0:30 left 3/8 cells"]


def test_short_stages_say_nothing(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("planning", 3, "cells")
    for done in range(4):
        clock.now += 1
        plain.advance(done, 3)
    plain.end()
    assert not lines


def test_lines_keep_their_distance(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("answering", 100, "answers")
    for done in range(100):
        clock.now += 0.5
        plain.advance(done, 100)
    assert len(lines) == 50 / PLAIN_EVERY_S


def test_what_was_there_already_is_no_speed(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("answering", 10_000, "answers")
    plain.advance(9_000, 10_000)
    clock.now = 20
    plain.advance(9_100, 10_000)
    assert "5.0/s, 3:00 left" in lines[0]


def test_an_unknown_total_has_no_time_left(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("reading", 0, "files")
    plain.advance(0, 0)
    clock.now = 10
    plain.advance(1_234, 0)
    assert lines == ["reading: 1,234/? files, 123.4/s"]


def test_a_terminal_shows_a_bar_and_leaves_no_trace_but_notes() -> None:
    stream = io.StringIO()
    events = TerminalEvents(Console(file=stream, force_terminal=True, width=100))
    events.begin("answering", 10, "answers")
    events.advance(5, 10, "1/2 cells")
    assert events.progress is not None
    events.progress.refresh()
    assert "answering" in stream.getvalue()
    assert "5/10" in stream.getvalue()
    assert "1/2 cells" in stream.getvalue()
    events.note("[bold]a note")
    events.end()
    assert events.progress is None
    assert "[bold]a note" in stream.getvalue()
    events.end()


def test_long_waits_are_told_in_hours(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("answering", 4_000, "answers")
    plain.advance(0, 4_000)
    clock.now = 10
    plain.advance(10, 4_000)
    assert lines == ["answering: 10/4000 answers (0%), 1.0/s, 1:06:30 left"]


def test_a_stage_that_stands_still_has_no_time_left(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("answering", 100, "answers")
    plain.advance(40, 100)
    clock.now = 10
    plain.advance(40, 100)
    assert lines == ["answering: 40/100 answers (40%), 0.0/s"]


def test_a_new_stage_forgets_the_speed_of_the_last(plain: PlainEvents, clock: Clock, lines: list[str]) -> None:
    plain.begin("reading", 0, "files")
    plain.advance(0, 0)
    clock.now = 9
    plain.advance(9_000, 0)
    plain.end()
    plain.begin("answering", 100, "answers")
    plain.advance(0, 100)
    clock.now = 12
    plain.advance(3, 100)
    assert not lines
    clock.now = 19
    plain.advance(10, 100)
    assert lines == ["answering: 10/100 answers (10%), 1.0/s, 1:30 left"]


def test_notes_are_lines_at_any_time(plain: PlainEvents, lines: list[str]) -> None:
    plain.note("first")
    plain.begin("answering", 1, "answers")
    plain.note("second")
    assert lines == ["first", "second"]


def test_a_bar_ends_with_its_stage_whatever_comes_next() -> None:
    stream = io.StringIO()
    events = TerminalEvents(Console(file=stream, force_terminal=True, width=100))
    events.advance(1, 2)
    events.begin("reading", 0, "files")
    first = events.progress
    assert first is not None
    events.begin("answering", 10, "answers")
    assert first.live.is_started is False
    events.end()
    events.advance(3, 10)
    assert events.progress is None
    said = stream.getvalue()
    assert said.count(HIDE_CURSOR) == said.count(SHOW_CURSOR) == 2
    assert said.rindex(SHOW_CURSOR) > said.rindex(HIDE_CURSOR)
    assert said.endswith(ERASE_LINE)
