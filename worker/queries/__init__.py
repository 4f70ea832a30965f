"""Read-only questions of operators about stored data: typed functions, none of which decides or changes anything."""
