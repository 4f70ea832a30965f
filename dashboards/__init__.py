"""Grafana's dashboards as code: what each shows, the JSON that Grafana reads, and pictures of them with real data.

No part of the worker: `make dashboards` writes `deploy/grafana/dashboards`, and `docs/dashboards.md` describes them.
"""
