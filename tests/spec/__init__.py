"""The sample documents of the platform's specification, and where each of their fields comes from."""
