"""CPS: cross pseudo supervision (CVPR 2021); README.md says what is implemented.

The second student is ``model.peer`` of ``step/segmentor.py``; ``objective.py`` is the loss on labelled and unlabelled images.
"""

from mmseg_semi.methods.cps.objective import CrossPseudoObjective

__all__ = ['CrossPseudoObjective']
