"""The one number that all label maps share."""

IGNORE = 255
"""The ignored label: void, padding, or a pixel whose prediction is below the threshold. No loss reads it."""
