"""The one exception for what a user can fix."""


class SetupError(ValueError):
    """A mistake in a configuration, a path, a list or a checkpoint.

    The message is one sentence that names the file or key, what was found, what was expected, and the edit or command
    that fixes it. The tools print it without a traceback and exit with status 2.
    """


class UnreadableFileError(SetupError):
    """An image or a mask that is missing, cannot be read or cannot be decoded."""


class UnwritableFileError(SetupError):
    """A file that cannot be written: the disk is full, the folder is read-only, or the rights are missing."""
