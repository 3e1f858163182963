"""Projects are imported as ``projects.NAME``."""

from mmseg_semi.runtime import launch

launch.find_projects()
