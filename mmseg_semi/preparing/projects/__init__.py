"""A project folder made from an annotation tool's export: images, masks, their description, and configs to train with."""

from mmseg_semi.preparing.projects.classes import Classes, choose_classes
from mmseg_semi.preparing.projects.parts import Parts, divide
from mmseg_semi.preparing.projects.settings import Machine, Settings, choose_settings, this_machine
from mmseg_semi.preparing.projects.writing import Written, write_project

__all__ = [
    'Classes',
    'Machine',
    'Parts',
    'Settings',
    'Written',
    'choose_classes',
    'choose_settings',
    'divide',
    'this_machine',
    'write_project',
]
