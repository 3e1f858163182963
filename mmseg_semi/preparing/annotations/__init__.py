"""What annotation tools export: one reader a format, all of which give an :class:`.Export`."""
