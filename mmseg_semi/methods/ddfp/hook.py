"""Fits the density estimators of objectives (DDFP's normalising flow) after each step of the student."""

from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_semi.errors import SetupError
from mmseg_semi.step.hooks import find_segmentor


@HOOKS.register_module()
class FlowEstimatorHook(Hook):
    """Makes one Adam step of every objective's estimator on its ``estimator_loss()``, after the student's step.

    Adam(lr, betas) has no weight decay; the gradient, averaged over ranks, is clipped to a global norm; lr is multiplied by
    ``final_ratio ** (1 / epochs)`` each epoch (the released DDFP code: 0.01 over 80 epochs, the first included). All ranks
    start from rank 0's weights. A gradient that is not finite counts as zero, so that only Adam's momentum changes the
    weights, and the run ends when the next step's log values are read.

    Args:
        lr: Initial learning rate.
        betas: Adam's.
        clip: Largest global gradient norm.
        final_ratio: lr at the end over lr at the start.
        epochs: Number of decays over the run, one every ``model.iters_per_epoch`` iterations.

    State: the optimisers' state dicts, under the checkpoint key ``flow_optimizers``.
    """

    # after the optimiser (train_step), before the objectives' after_step (NORMAL)
    priority = 'ABOVE_NORMAL'

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.5, 0.9),
        clip: float = 50.0,
        final_ratio: float = 0.01,
        epochs: int = 80,
    ) -> None:
        if lr <= 0 or clip <= 0 or not 0 < final_ratio <= 1 or epochs < 1:
            raise SetupError(
                f'FlowEstimatorHook: lr={lr}, clip={clip}, final_ratio={final_ratio}, epochs={epochs}; '
                'expected positive numbers and final_ratio in (0, 1]'
            )
        self.base_lr = lr
        self.betas = tuple(betas)
        self.clip = clip
        self.final_ratio = final_ratio
        self.epochs = epochs
        self._restored: list[dict] | None = None

    def lr(self, iteration: int) -> float:
        """Learning rate of the step after this iteration; computed, so that no scheduler has to be saved."""
        return self.base_lr * self.final_ratio ** (
            (iteration // self.iters_per_epoch) / self.epochs
        )

    def before_train(self, runner: Runner) -> None:
        segmentor = find_segmentor(runner, self)
        self.iters_per_epoch = segmentor.iters_per_epoch
        self.objectives = [
            objective for objective in segmentor.objectives if objective.get_estimator() is not None
        ]
        self.optimizers = []
        for objective in self.objectives:
            parameters = list(objective.get_estimator().parameters())
            for parameter in parameters:
                broadcast(parameter.data)
            self.optimizers.append(
                torch.optim.Adam(parameters, lr=self.base_lr, betas=self.betas, weight_decay=0.0)
            )
        if self._restored is not None:
            if len(self._restored) != len(self.optimizers):
                raise SetupError(
                    f'the checkpoint holds {len(self._restored)} flow optimisers, the config {len(self.optimizers)} '
                    'objectives with a density: resume with the config that made it'
                )
            for optimizer, state in zip(self.optimizers, self._restored, strict=True):
                optimizer.load_state_dict(state)
            self._restored = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for objective, optimizer in zip(self.objectives, self.optimizers, strict=True):
            estimator = objective.get_estimator()
            with estimator.trainable():
                loss = objective.estimator_loss()
                if loss is None:
                    continue
                parameters = list(estimator.parameters())
                gradients = torch.autograd.grad(loss, parameters)
                flat = torch.cat([gradient.flatten() for gradient in gradients])
                if get_world_size() > 1:
                    all_reduce(flat, op='mean')
                norm = flat.norm()
                scaled = flat * (self.clip / (norm + 1e-6)).clamp(max=1.0)
                flat = torch.where(torch.isfinite(norm), scaled, torch.zeros_like(flat))
                for parameter, part in zip(
                    parameters, flat.split([p.numel() for p in parameters]), strict=True
                ):
                    parameter.grad = part.view_as(parameter)
                for group in optimizer.param_groups:
                    group['lr'] = self.lr(runner.iter)
                optimizer.step()
                runner.message_hub.update_scalar('train/flow_lr', self.lr(runner.iter))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if getattr(self, 'optimizers', None):
            checkpoint['flow_optimizers'] = [
                optimizer.state_dict() for optimizer in self.optimizers
            ]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # load_from starts a new run, with new optimisers
        if runner._resume and 'flow_optimizers' in checkpoint:
            self._restored = checkpoint['flow_optimizers']
