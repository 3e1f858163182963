"""Names of version 0.1 whose objects have another name now."""

import importlib
import sys

import pytest

from mmseg_semi.step import hooks, objective, views


def test_old_names_of_views_and_hooks():
    sys.modules.pop('mmseg_semi.structures', None)
    with pytest.warns(DeprecationWarning):
        old = importlib.import_module('mmseg_semi.structures')
    assert old.StudentRows is views.StudentOutputs and old.TeacherRows is views.TeacherOutputs
    assert old.StepViews is views.StepViews and old.Needs is objective.Needs and old.IGNORE == 255
    with pytest.raises(AttributeError):
        _ = old.Nothing
    sys.modules.pop('mmseg_semi.hooks.mean_teacher_hook', None)
    with pytest.warns(DeprecationWarning):
        old = importlib.import_module('mmseg_semi.hooks.mean_teacher_hook')
    assert old.MeanTeacherHook is hooks.MeanTeacherHook
