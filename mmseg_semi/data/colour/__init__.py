"""Colour of the strong view: per image in the pipeline, and the same operations on batches."""
