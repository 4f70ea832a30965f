"""THE registration: the dashboards there are, in the order in which somebody opens them."""

from pathlib import Path

from dashboards import failures, ingest, jobs, overview, watchers

BOARDS = (overview.BOARD, ingest.BOARD, watchers.BOARD, failures.BOARD, jobs.BOARD)

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
