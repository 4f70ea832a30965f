"""`sevenp-worker run`: the worker itself."""

from worker.app.collector import tune_collector
from worker.app.serving import serve
from worker.app.signals import StopSignal
from worker.cli import help as text
from worker.cli.ending import end_with
from worker.settings import load_settings
from worker.telemetry.logs import configure_logging

EPILOG = text.page(
    text.examples(
        "SEVENP_MONGODB_URI='mongodb://db/?replicaSet=rs0&tls=true' sevenp-worker run",
        "SEVENP_ROLES=progress SEVENP_HTTP_PORT=9465 sevenp-worker run",
    ),
    text.settings(),
    text.exit_codes(),
)


def run() -> None:
    """Run the worker until SIGTERM or Ctrl-C, then drain and end with 0.

    Checks at start that MongoDB and Kafka answer and that the schema is as needed. Logs go to stderr: columns on a
    terminal, JSON lines elsewhere. One HTTP port serves /metrics, /livez and /readyz.
    """
    signals = StopSignal()
    signals.install()

    async def work() -> None:
        settings = load_settings()
        configure_logging(settings.process.log_level, form=settings.process.log_format)
        tune_collector()
        await serve(settings, signals.event())

    end_with(work)
