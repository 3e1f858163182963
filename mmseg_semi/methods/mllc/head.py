"""MLLC's heads: a classifier, an embedding, and the trained layers of label correction.

H. Xiao et al., IEEE Trans. Multimedia 26 (2024), https://arxiv.org/abs/2404.02065; behaviour
checked against the authors' released training script. ``MLLCHead`` is the released head, built on
DeepLabV2's. ``MLLCPlusHead`` is built on DeepLabV3+'s, which the paper evaluates and the authors
did not release. Only the classifier is deployed: ``forward`` runs neither embedding nor graphs.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.heads.deeplabv2 import DeepLabV2Head, DilatedPyramid, init_convolutions
from mmseg_semi.heads.deeplabv3plus import DeepLabV3PlusHead
from mmseg_semi.heads.two_stage import HeadOutput
from mmseg_semi.methods.mllc.graphs import GraphRound, Level, pool, pool_valid, run_rounds

CLASS_LAYERS = ('factored', 'identity')


class TrainedRound(GraphRound):
    """A round of label correction with its two trained layers.

    Args:
        num_classes: Number of classes K.
        channels: Channels D of the features (256).
        class_layer: 'factored' is two 1x1 convolutions without activation that start from
            N(0, 0.01^2), as in the released code. The corrected logits are then almost uniform at
            first, and pseudo-labels count only once they are not. 'identity' is one 1x1 convolution
            that starts as the identity.
        kwargs: Arguments of :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.

    Raises:
        SetupError: If a value is out of range.

    Example:
        >>> graph_round = TrainedRound(num_classes=3, channels=8, top_k=5)
        >>> level = Level(torch.randn(2, 3, 5, 7), torch.randn(2, 8, 5, 7))
        >>> graph_round(level, thresholds=torch.full((3,), 0.95)).features.shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(
        self, num_classes: int, channels: int, class_layer: str = 'factored', **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if class_layer not in CLASS_LAYERS:
            raise SetupError(
                f"decode_head.class_layer='{class_layer}': expected one of {CLASS_LAYERS}"
            )
        self.identity = class_layer == 'identity'
        self.class_layer = nn.Sequential(
            *(nn.Conv2d(num_classes, num_classes, 1) for _ in range(1 if self.identity else 2))
        )
        self.feature_layer = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1)
        )

    def init_values(self) -> None:
        """Initialise as the authors do; MMEngine would call a method named ``init_weights``."""
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]
        init_convolutions(self, zero_bias=layers)
        if self.identity:
            nn.init.dirac_(self.class_layer[0].weight)


class _GraphHead:
    """Base of both heads: the rounds, and their levels."""

    def _build_graphs(
        self,
        embedding_channels: int,
        rounds: int,
        graph_pool: int,
        class_layer: str,
        graph: dict | None,
    ) -> None:
        if embedding_channels < 0 or rounds < 0 or graph_pool < 1:
            raise SetupError(
                f'{type(self).__name__}: embedding_channels={embedding_channels}, rounds={rounds}, '
                f'graph_pool={graph_pool}; expected embedding_channels >= 0, rounds >= 0 and '
                'graph_pool >= 1'
            )
        if rounds and not embedding_channels:
            raise SetupError(
                f'{type(self).__name__}: rounds={rounds} need an embedding: set '
                'embedding_channels, for instance to 256'
            )
        self.embedding_channels = embedding_channels
        self.graph_pool = graph_pool
        # the global generator stays as it was, so runs of one seed start from the same deployed
        # network whatever the number of rounds
        with torch.random.fork_rng(devices=[]):
            if embedding_channels:
                self._build_embedding()
            self.rounds = nn.ModuleList(
                TrainedRound(self.num_classes, embedding_channels, class_layer, **(graph or {}))
                for _ in range(rounds)
            )

    def _build_embedding(self) -> None:
        """Build the embedding's layers."""
        raise NotImplementedError

    def init_weights(self) -> None:
        super().init_weights()
        with torch.random.fork_rng(devices=[]):
            if self.embedding_channels:
                self._init_embedding()
            for graph_round in self.rounds:
                graph_round.init_values()

    def _init_embedding(self) -> None:
        """Keep torch's default weights."""

    def levels(
        self,
        logits: Tensor,
        embedding: Tensor | None,
        thresholds: Tensor,
        valid: Tensor | None = None,
        last_features: bool = True,
    ) -> list[Level]:
        """Run the rounds of label correction.

        Args:
            logits: (N, K, h, w), from ``finish``.
            embedding: (N, D, h, w), from ``finish``, or None.
            thresholds: (K,) eta.
            valid: (N, h, w) bool, valid positions of the maps, or None if all are valid. A node is
                the mean of the valid positions in its cell.
            last_features: Whether the features of the last level are needed.

        Returns:
            Level 0 with ``logits`` at their resolution, then a level per round at the resolution
            of the graphs. Without an embedding there is level 0 alone.
        """
        if embedding is None:
            return [Level(logits, None)]
        cells = self.graph_pool
        first = Level(pool(logits, cells, valid), pool(embedding, cells, valid))
        nodes = pool_valid(valid, cells)
        levels = run_rounds(self.rounds, first, thresholds, nodes, last_features)
        return [Level(logits, first.features), *levels[1:]]


@MODELS.register_module()
class MLLCHead(_GraphHead, DeepLabV2Head):
    """:class:`DeepLabV2Head` with an embedding of the same structure and the layers of the rounds.

    Args:
        embedding_channels: Channels D of the embedding (256). 0, the default, builds no embedding,
            because a plain ``EncoderDecoder`` has no loss that reaches it.
        rounds: Number of rounds (2; default 0).
        graph_pool: Positions along the side of a node's cell (1).
        class_layer: See :class:`TrainedRound`.
        graph: Arguments of :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.
        kwargs: Arguments of :class:`DeepLabV2Head`.

    Raises:
        SetupError: If there are rounds without an embedding, or a value is out of range.

    Example:
        >>> sizes = dict(in_channels=32, channels=16, num_classes=3, in_index=0, groups=4)
        >>> head = MLLCHead(**sizes, embedding_channels=8, rounds=2)
        >>> output = head.finish(head.lift(head.embed([torch.randn(2, 32, 5, 7)])))
        >>> levels = head.levels(output.logits, output.embedding, torch.full((3,), 0.95))
        >>> len(levels), levels[-1].logits.shape, levels[-1].features.shape
        (3, torch.Size([2, 3, 5, 7]), torch.Size([2, 8, 5, 7]))
    """

    def __init__(
        self,
        *args,
        embedding_channels: int = 0,
        rounds: int = 0,
        graph_pool: int = 1,
        class_layer: str = 'factored',
        graph: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._build_graphs(embedding_channels, rounds, graph_pool, class_layer, graph)

    def _build_embedding(self) -> None:
        self.embedding_pyramid = DilatedPyramid(
            self.in_channels, self.channels, **self.pyramid_options
        )
        self.conv_embedding = nn.Conv2d(self.channels, self.embedding_channels, 1, bias=False)

    def _init_embedding(self) -> None:
        self.embedding_pyramid.init_values()
        init_convolutions(self.conv_embedding)

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Map u to features, logits and the embedding F, which is not normalised."""
        output = super().finish(lifted)
        if not self.embedding_channels:
            return output
        x = F.dropout2d(self.embedding_pyramid(lifted), self.dropout_ratio, self.training)
        return output._replace(embedding=self.conv_embedding(x))


@MODELS.register_module()
class MLLCPlusHead(_GraphHead, DeepLabV3PlusHead):
    """:class:`DeepLabV3PlusHead` with a 1x1 embedding of its features and the layers of the rounds.

    The authors did not release their network. Maps at stride 4 would have four times the nodes of
    MLLCHead's, so the graphs stand at stride 8: logits and embedding are averaged over cells, and
    the corrected logits are upsampled for the losses.

    Args:
        embedding_channels: Channels D of the embedding (256). 0, the default, builds no embedding,
            because a plain ``EncoderDecoder`` has no loss that reaches it.
        rounds: Number of rounds (2; default 0).
        graph_pool: Positions along the side of a node's cell (2: nodes at stride 8).
        class_layer: See :class:`TrainedRound`.
        graph: Arguments of :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.
        kwargs: Arguments of :class:`DeepLabV3PlusHead`.

    Raises:
        SetupError: If there are rounds without an embedding, or a value is out of range.

    Example:
        >>> sizes = dict(in_channels=(8, 32), channels=16, num_classes=3, in_index=(0, 1))
        >>> head = MLLCPlusHead(**sizes, embedding_channels=8, rounds=2)
        >>> fused = head.embed([torch.randn(2, 8, 16, 16), torch.randn(2, 32, 4, 4)])
        >>> _, logits, embedding = head.finish(head.lift(fused))
        >>> [level.logits.shape[2] for level in head.levels(logits, embedding, torch.ones(3))]
        [16, 8, 8]
    """

    def __init__(
        self,
        *args,
        embedding_channels: int = 0,
        rounds: int = 0,
        graph_pool: int = 2,
        class_layer: str = 'factored',
        graph: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._build_graphs(embedding_channels, rounds, graph_pool, class_layer, graph)

    def _build_embedding(self) -> None:
        self.conv_embedding = nn.Conv2d(self.channels, self.embedding_channels, 1)

    def finish(self, lifted: Tensor, branches: tuple[int, int] | None = None) -> HeadOutput:
        """Map u to features, logits and the embedding F, which is not normalised."""
        output = super().finish(lifted, branches)
        if not self.embedding_channels:
            return output
        return output._replace(embedding=self.conv_embedding(output.features))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map backbone outputs to logits, (N, K, h, w), without the embedding."""
        return self.cls_seg(self.features(self.lift(self.embed(inputs))))
