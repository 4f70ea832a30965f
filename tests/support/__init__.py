"""What the tests of several folders share: servers, roles that run in a test, data, and waiting for a condition."""
