"""What watch tests have, too: a client of its own whose commands can be made to fail."""

from tests.integration.watch.conftest import watched

__all__ = ["watched"]
