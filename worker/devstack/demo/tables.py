"""The summary as tables people can read: totals, checks, one learner, one course."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from worker.devstack.demo.stored import Example
from worker.devstack.demo.summary import Summary
from worker.telemetry.labels import Outcome
from worker.words import counted

BARS = 20  # characters of a full progress bar
SHOWN = 10  # examples of what is wrong: enough to start looking


def print_totals(console: Console, summary: Summary) -> None:
    """Counts of the run and of the collections, then every check with its verdict."""
    counts = summary.counts
    totals = _table("What happened", "", ("count", "right"))
    rows: dict[str, object] = {
        "records published": summary.published,
        "events stored by this run": summary.stored_now,
        "duplicates left out": counts.of(Outcome.DUPLICATE),
        "dead letters": summary.dead_lettered,
        **{f"  {reason}": count for reason, count in summary.dead_letter_reasons.items()},
        "events in the store": summary.after.stored,
        "rows in the time series": summary.after.time_series,
        "progress documents": summary.after.streams,
        "lessons completed": summary.after.completed_lessons,
        **{f"{kind} notifications {status}": n for (kind, status), n in summary.after.notifications.items()},
        "billing transactions": summary.after.billing,
        "seconds from first to last": f"{summary.seconds:,.2f}",
        "records per second": f"{summary.events_per_second:,.0f}",
    }
    for name, value in rows.items():
        totals.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    types = _table("Events by type", "type", ("count", "right"))
    for event_type, count in summary.after.by_type.items():
        types.add_row(event_type, f"{count:,}")
    checks = _table("Does everything agree?", "check", ("seen", "left"), ("", "left"))
    for check in summary.checks():
        verdict = "[green]yes[/green]" if check.holds else "[bold red]NO[/bold red]"
        checks.add_row(check.name, check.detail, verdict)
    for table in (types, totals, checks):
        if table.row_count:
            console.print(table)
    _say_refused(console, summary)
    platform = [] if summary.platform is None else summary.platform.all_differences
    wrongs = (summary.differences, summary.statistics, platform, summary.verification.findings)
    for wrong in (each for some in wrongs for each in some[:SHOWN]):
        console.print(f"  {wrong}", markup=False, highlight=False, soft_wrap=True)
    _say_verdict(console, summary)


def _say_verdict(console: Console, summary: Summary) -> None:
    """The last word: what the exit code says."""
    wrong = sum(not check.holds for check in summary.checks())
    if wrong:
        console.print(
            f"Not everything agrees: {counted(wrong, 'check')} failed, see NO above.", style="bold red"
        )
    else:
        console.print(
            f"Everything agrees, {len(summary.checks())} checks of {len(summary.checks())}.",
            style="bold green",
        )


def _say_refused(console: Console, summary: Summary) -> None:
    """In words, where a file holds lines that are no events: a row of a table is easily overlooked."""
    refused = summary.dead_lettered
    if summary.simulation is not None or not refused:
        return
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary.dead_letter_reasons.items())
    if summary.refused_all:
        text = (
            f"None of the {counted(summary.published, 'line')} is an event ({reasons}): all were refused and "
            "are dead letters now. Is it the right file, and is it of this format (FORMAT=xapi, --format xapi)?"
        )
    else:
        text = f"{refused:,} of {counted(summary.published, 'line')} refused ({reasons}): they are dead letters now."
    console.print(text, style="bold yellow", highlight=False)


def print_learner(console: Console, example: Example) -> None:
    """One progress document, what the learner's user document says, and what was sent."""
    document = example.progress
    progress, time, social = document["progress"], document["time_tracking"], document["social"]
    bar = _bars(console)
    table = _table("One learner in one course", "", ("", "left"))
    table.add_row("learner", _named(document["user_id"], example.user, "profile", "displayName"))
    table.add_row("course", _named(document["course_id"], example.course, "title"))
    table.add_row("status", document["status"])
    table.add_row("progress", f"{bar(progress['percentage'])} {progress['percentage']:g} %")
    table.add_row("lessons", f"{progress['completed_lessons']} of {progress['total_lessons'] or 'unknown'}")
    table.add_row(
        "time", f"{_duration(time['total_seconds'])} in {counted(time['session_count'], 'session')}"
    )
    table.add_row("quiz average", _percent(document["performance"]["quiz_average"]))
    table.add_row("social", ", ".join(f"{_words(name)} {count:,}" for name, count in social.items() if count))
    table.add_row("last activity", _date(time["last_activity"]))
    table.add_row("version", f"{counted(document['version'], 'event')} folded")
    for row in example.notifications:
        table.add_row("notification", f"{row['kind']}, {row['status']}")
    learning = (example.user or {}).get("stats", {})
    if learning:
        table.add_row("in all courses", _learning(learning))
    begun = [each for each in document["lesson_progress"] if each["status"] != "not_started"]
    for number, lesson in enumerate(begun[:10], start=1):
        quiz = lesson["quiz_results"]
        extra = f", quiz {_percent(quiz['score'])}" if quiz else ""
        share = f"{bar(lesson['progress_percentage'])} {lesson['progress_percentage']:g} %"
        table.add_row(f"lesson {number}", f"{share}, {_duration(lesson['time_spent'])}{extra}")
    console.print(table)


def print_course(console: Console, example: Example) -> None:
    """One course over its learners: added up here, and as its own document says."""
    documents = example.learners
    bar = _bars(console)
    table = _table("One course", "", ("", "left"))
    shares = [document["progress"]["percentage"] for document in documents]
    quizzes = [
        document["performance"]["quiz_average"]
        for document in documents
        if document["performance"]["quiz_average"] is not None
    ]
    table.add_row("course", _named(example.progress["course_id"], example.course, "title"))
    table.add_row("learners", f"{len(documents):,}")
    table.add_row("finished", f"{sum(share == 100 for share in shares):,}")
    table.add_row("dropped out", f"{sum(document['status'] == 'dropped' for document in documents):,}")
    table.add_row("mean progress", f"{bar(_mean(shares))} {_mean(shares):.1f} %")
    table.add_row("mean quiz average", _percent(_mean(quizzes) if quizzes else None))
    seconds = sum(document["time_tracking"]["total_seconds"] for document in documents)
    table.add_row("time spent", _duration(seconds))
    stats = (example.course or {}).get("stats", {})
    if "sums" in stats:
        table.add_section()
        _add_statistics(table, stats, bar)
    console.print(table)


def _add_statistics(table: Table, stats: Mapping[str, Any], bar: Callable[[float], str]) -> None:
    """The statistics as they stand in the course's document."""
    enrolments, ratings, engagement = stats["enrollments"], stats["ratings"], stats["engagement"]
    for name, count in enrolments.items():
        table.add_row(f"enrollments.{name}", f"{count:,}")
    table.add_row(
        "ratings.average", f"{ratings['average']:.2f} of {counted(ratings['total_reviews'], 'review')}"
    )
    for star, count in sorted(ratings["distribution"].items(), reverse=True):
        share = 100 * count / ratings["total_reviews"] if ratings["total_reviews"] else 0
        table.add_row(f"  {counted(int(star), 'star')}", f"{bar(share)} {count:,}")
    table.add_row("completion_rate", f"{engagement['completion_rate']:.3f}")
    table.add_row("average_progress", f"{engagement['average_progress']:.3f}")
    for name in ("discussion_posts", "questions_asked"):
        table.add_row(name, f"{engagement[name]:,}")


def _named(identity: object, document: Mapping[str, Any] | None, *path: str) -> str:
    """An id, and the name its document gives it."""
    name: Any = document
    for part in path:
        name = (name or {}).get(part)
    return f"{identity} {name}" if name else str(identity)


def _learning(stats: Mapping[str, Any]) -> str:
    courses, certificates = stats.get("courses_enrolled", 0), stats.get("certificates_earned", 0)
    return (
        f"{counted(courses, 'course')}, {stats.get('courses_completed', 0)} completed, "
        f"{counted(certificates, 'certificate')}"
    )


def _table(title: str, first: str, *others: tuple[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=any([first, *(name for name, _ in others)]))
    table.add_column(first)
    for name, justify in others:
        table.add_column(name, justify="right" if justify == "right" else "left")
    return table


def _bars(console: Console) -> Callable[[float], str]:
    """Draws a percentage in letters that the console's encoding has."""
    full, empty = ("#", ".") if console.options.ascii_only else ("█", "░")

    def bar(percentage: float) -> str:
        filled = int(percentage * BARS / 100)
        return full * filled + empty * (BARS - filled)

    return bar


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _percent(value: float | None) -> str:
    return "none yet" if value is None else f"{value:.1f} %"


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3_600)
    minutes, whole = divmod(rest, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {whole:02} s"


def _date(date: datetime | None) -> str:
    return "never" if date is None else f"{date:%Y-%m-%d %H:%M} UTC"


def _words(name: str) -> str:
    return name.replace("_", " ")
