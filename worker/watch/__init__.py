"""Watch: change streams wake folds, and folds keep documents current."""
