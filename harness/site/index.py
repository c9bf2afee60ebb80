"""Many runs put together: whose latest figures stand where, and each competitor's over time. Lays nothing out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from harness.names import slug
from harness.report.cells import number
from harness.site.entry import Entry, Standing


@dataclass(frozen=True, slots=True)
class Course:
    """One competitor in one task of one suite, over all runs.

    Attributes:
        suite, task, name, model: as in :class:`harness.site.entry.Standing`.
        points: what each run found, oldest first.
    """

    suite: str
    task: str
    name: str
    model: str
    points: tuple[tuple[Entry, Standing], ...]

    @property
    def latest(self) -> tuple[Entry, Standing]:
        """What stands for it: the latest run that is VALID, or the latest of all where none is."""
        return next((point for point in reversed(self.points) if point[0].valid), self.points[-1])

    @property
    def comparable(self) -> tuple[tuple[Entry, Standing], ...]:
        """The points of VALID runs that were summed up by the same figure as the latest one."""
        key = self.latest[1].headline.key
        return tuple(point for point in self.points if point[0].valid and point[1].headline.key == key)


@dataclass(frozen=True)
class Index:
    """All runs.

    Attributes:
        entries: newest first; those whose run.json can't be read come last.
        courses: by suite and task, the best latest figure of each first.
    """

    entries: tuple[Entry, ...]
    courses: tuple[Course, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Every model once, by name."""
        return tuple(sorted({course.model for course in self.courses}))

    def of(self, model: str) -> list[Course]:
        """Return the courses of one model and its heads."""
        return [course for course in self.courses if course.model == model]


def make_index(entries: Iterable[Entry]) -> Index:
    """Put runs together."""
    ordered = sorted(entries, key=lambda entry: (entry.info is not None, entry.when, entry.folder))
    points: dict[tuple[str, str, str, str], list[tuple[Entry, Standing]]] = defaultdict(list)
    for entry in ordered:
        for standing in entry.standings:
            points[standing.suite, standing.task, standing.name, standing.model].append((entry, standing))
    courses = [Course(*key, tuple(found)) for key, found in points.items()]
    return Index(tuple(reversed(ordered)), tuple(sorted(courses, key=_place)))


def model_files(models: Sequence[str]) -> dict[str, str]:
    """Return the name of each model's page; names that no path can hold as they are get a digest, so that none meet."""
    return {
        name: f"{name}.html"
        if slug(name).lower() == name
        else f"{slug(name)}-{sha256(name.encode()).hexdigest()[:8]}.html"
        for name in models
    }


def _place(course: Course) -> tuple[str, str, str, float, str]:
    standing = course.latest[1]
    figure = number(standing.figure)
    sign = -1.0 if standing.headline.better == "high" else 1.0
    return (
        course.suite,
        course.task,
        standing.headline.title,
        float("inf") if figure is None else sign * figure,
        course.name,
    )
