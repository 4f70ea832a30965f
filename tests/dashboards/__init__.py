"""The dashboards on a real run: every query asked of a real Prometheus, and pictures drawn from the answers."""
