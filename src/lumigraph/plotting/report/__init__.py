"""A report on a model, as one HTML page."""
