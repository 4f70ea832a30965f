"""What the worker tells its operators: metrics, logs, health. Never a payload, never a learner's id."""
