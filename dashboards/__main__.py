"""Writes every dashboard's JSON into `deploy/grafana/dashboards`: `python -m dashboards`, or `make dashboards`."""

import sys

from dashboards.catalogue import BOARDS, FOLDER, ROOT
from dashboards.grafana import to_json


def main() -> None:
    """Write them, and remove what is no dashboard any more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = {FOLDER / f"{board.name}.json": to_json(board) for board in BOARDS}
    for path in set(FOLDER.glob("*.json")) - files.keys():
        path.unlink()
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
