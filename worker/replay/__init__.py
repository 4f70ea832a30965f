"""Jobs over the stored history: verify it now; rebuild and re-ingest it later."""
