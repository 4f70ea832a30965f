"""`python -m worker` is `sevenp-worker`."""

import gc

# What imports make is no garbage: not looking for any saves a sixth of the start.
gc.disable()

from worker.cli import main  # noqa: E402

gc.enable()

if __name__ == "__main__":
    main()
