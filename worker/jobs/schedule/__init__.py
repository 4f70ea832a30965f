"""Jobs by the clock: entries say which job runs when; each firing is started once, however many schedulers run."""
