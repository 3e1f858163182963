"""Projects are imported as ``projects.NAME``."""

from mmseg_semi.runtime import configs

configs.find_projects()
