"""The average without a runner."""

import copy

import pytest
import torch
from torch import nn

from mmseg_semi.step.teacher import MovingAverage, TeacherRecipe, build_teacher


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def test_an_update_is_the_formula():
    student = network()
    teacher = build_teacher(student, TeacherRecipe())
    average = MovingAverage(teacher, student, momentum=0.1, buffers='average')
    expected = copy.deepcopy(teacher.state_dict())
    for iteration in range(30):
        for tensor in student.state_dict().values():
            tensor.add_(torch.randn(tensor.shape) if tensor.is_floating_point() else 1)
        average.update(iteration)
        decay = min(1 - 1 / (iteration + 1), 0.9)
        for key, value in student.state_dict().items():
            mean = decay * expected[key].double() + (1 - decay) * value.double()
            expected[key] = mean if value.is_floating_point() else value
            assert torch.allclose(teacher.state_dict()[key].double(), expected[key].double())


@pytest.mark.parametrize('weights', ['ema', 'shared', 'student'])
@pytest.mark.parametrize('buffers', ['copy', 'average', 'own'])
def test_which_teachers_follow(weights, buffers):
    recipe = TeacherRecipe(weights=weights, mode='train', buffers=buffers)
    assert recipe.follows == (weights == 'ema' or (weights == 'shared' and buffers != 'own'))
