"""Evaluation: student and teacher side by side."""

from mmseg_semi.evaluation.loops import TeacherStudentTestLoop, TeacherStudentValLoop

__all__ = ['TeacherStudentTestLoop', 'TeacherStudentValLoop']
