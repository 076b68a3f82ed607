"""Progress of a long command, on stderr: a bar on a terminal, else a plain line every few seconds."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from watcher.cli import render
from watcher.cli.format import span

if TYPE_CHECKING:
    from watcher.reindex.report import Progress as Step
    from watcher.reindex.report import Report

#: Interval of plain lines, seconds.
LINE_INTERVAL_SECONDS = 5.0


class ProgressDisplay:
    """The progress display of one command, open as a context manager. ``clock`` is replaced in tests."""

    def __init__(self, *, clock: Any = time.monotonic, every: float = LINE_INTERVAL_SECONDS) -> None:
        self._clock = clock
        self._every = every
        self._began = clock()
        self._line_at = float("-inf")
        #: Blocks done before this run began: they do not count for its pace.
        self._before: int | None = None
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> "ProgressDisplay":
        if sys.stderr.isatty():
            columns: list[ProgressColumn] = [
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                _Pace(),
            ]
            console = Console(stderr=True, highlight=False, markup=False, emoji=False)
            self._bar = Progress(*columns, console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("Reindex", total=None, words="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: "Step") -> None:
        """Show the progress."""
        words = self._words(step)
        if self._bar is not None:
            self._bar.update(self._task, total=step.total, completed=step.done, words=words)
        else:
            self._line(f"{step.done:,} of {render.count(step.total, 'block')}: {words}")

    def say(self, note: str) -> None:
        """Show a message for work that is not counted."""
        if self._bar is not None:
            self._bar.update(self._task, words=render.plain(note))
        else:
            self._line(note)

    def done(self, report: "Report") -> None:
        """Show the final state, whenever the last line was."""
        if self._bar is None:
            blocks = render.count(report.top - report.bottom + 1, "block")
            render.note(f"{blocks} done in {span(report.seconds)}.")

    def _words(self, step: "Step") -> str:
        if step.note:
            return render.plain(step.note)
        if self._before is None:
            self._before = step.done
        pace = (step.done - self._before) / max(self._clock() - self._began, 0.001)
        parts = [
            f"{pace:,.0f} blocks/s",
            render.count(step.counts.transfers, "transfer"),
            render.count(step.counts.changes, "change"),
        ]
        if pace > 0:
            parts.append(f"{span((step.total - step.done) / pace)} left")
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        if self._clock() - self._line_at >= self._every:
            self._line_at = self._clock()
            render.note(text)


class _Pace(ProgressColumn):
    """The words beside the bar."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields["words"]))
