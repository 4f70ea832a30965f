"""Jobs: work with a beginning and an end, run under a lease, step by step, so that it can be killed and forgotten."""
