"""Who is compared: each a program of its own that reads a topic and fills the same two collections."""
