"""The trial of `rebuild`: a whole system under load, whose documents are damaged, mended, promoted and taken back."""
