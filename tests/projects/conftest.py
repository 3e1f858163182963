"""Projects are imported as ``projects.NAME``."""

from mmseg_semi import launch

launch.find_projects()
