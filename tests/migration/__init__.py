"""A course with many learners gets other lessons, under load and kills: what it costs, and that it is right."""
