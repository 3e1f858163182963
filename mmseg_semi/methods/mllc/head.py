"""MLLC's heads (arXiv 2404.02065): a classifier, an embedding, and the trained layers of K rounds of label correction.

``MLLCHead`` is DeepLabV2's, as released; ``MLLCPlusHead`` DeepLabV3+'s, which the paper evaluates and the authors did not
release. What is deployed is the classifier alone: ``forward`` runs neither embedding nor graphs.
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
    """A round with its two trained layers.

    Args:
        num_classes: K.
        channels: D.
        class_layer: 'factored', two 1x1 convolutions without activation, N(0, 0.01^2) (the released code): the corrected
            logits begin almost uniform, and nothing is learned from pseudo-labels before they are not; 'identity', one
            that begins as the identity.
        kwargs: See :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.
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
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]
        init_convolutions(self, zero_bias=layers)
        if self.identity:
            nn.init.dirac_(self.class_layer[0].weight)


class _GraphHead:
    """What both heads share: the rounds, and the levels they give."""

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
                f'graph_pool={graph_pool}; expected embedding_channels >= 0, rounds >= 0 and graph_pool >= 1'
            )
        if rounds and not embedding_channels:
            raise SetupError(
                f'{type(self).__name__}: rounds={rounds} need an embedding: set embedding_channels, for instance 256'
            )
        self.embedding_channels = embedding_channels
        self.graph_pool = graph_pool
        # without taking random numbers from what is deployed: runs of one seed start from the same network whatever K is
        with torch.random.fork_rng(devices=[]):
            if embedding_channels:
                self._build_embedding()
            self.rounds = nn.ModuleList(
                TrainedRound(self.num_classes, embedding_channels, class_layer, **(graph or {}))
                for _ in range(rounds)
            )

    def _build_embedding(self) -> None:
        """Each head's own."""
        raise NotImplementedError

    def init_weights(self) -> None:
        super().init_weights()
        with torch.random.fork_rng(devices=[]):
            if self.embedding_channels:
                self._init_embedding()
            for one in self.rounds:
                one.init_values()

    def _init_embedding(self) -> None:
        """torch's default."""

    def levels(
        self,
        logits: Tensor,
        embedding: Tensor | None,
        thresholds: Tensor,
        valid: Tensor | None = None,
        last_features: bool = True,
    ) -> list[Level]:
        """Levels 0..K; level 0 has the logits at their own resolution, the others at that of the graphs.

        Args:
            logits: (N, K, h, w) of ``finish``.
            embedding: (N, D, h, w) of ``finish``.
            thresholds: (K,) eta.
            valid: (N, h, w) bool, which positions of the maps take part, or None: all. A node is the mean of those in its cell.
            last_features: Whether anybody wants the features of the last level.
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
    """:class:`DeepLabV2Head` with an embedding head of the same structure and the layers of the graph rounds.

    Args:
        embedding_channels: Width D of the embedding (256); 0, the default, builds neither it nor rounds, so that the head
            alone in a plain ``EncoderDecoder`` has no parameter that its loss does not reach.
        rounds: K (2).
        graph_pool: Cells of this many positions a side are one node.
        class_layer: See :class:`TrainedRound`.
        graph: Keyword arguments of :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.
        kwargs: See :class:`DeepLabV2Head`.

    Raises:
        SetupError: Rounds without an embedding; a value out of range.
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
        """Features, logits, and the embedding F, which is not normalised."""
        output = super().finish(lifted)
        if not self.embedding_channels:
            return output
        x = F.dropout2d(self.embedding_pyramid(lifted), self.dropout_ratio, self.training)
        return output._replace(embedding=self.conv_embedding(x))


@MODELS.register_module()
class MLLCPlusHead(_GraphHead, DeepLabV3PlusHead):
    """:class:`DeepLabV3PlusHead` with a 1x1 embedding of the decoder's features and the layers of the graph rounds.

    The authors' network is unpublished; graphs at stride 8 follow from its size. Logits and embedding are averaged over
    cells of ``graph_pool`` positions a side, and the corrected logits upsampled for the losses.

    Args:
        embedding_channels: Width D of the embedding; 0, the default, builds neither it nor rounds.
        rounds: K (2).
        graph_pool: 2 makes nodes at stride 8 of maps at stride 4.
        class_layer: See :class:`TrainedRound`.
        graph: Keyword arguments of :class:`~mmseg_semi.methods.mllc.graphs.GraphRound`.
        kwargs: See :class:`DeepLabV3PlusHead`.

    Raises:
        SetupError: Rounds without an embedding; a value out of range.
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
        """Features, logits, and the embedding F, which is not normalised."""
        output = super().finish(lifted, branches)
        if not self.embedding_channels:
            return output
        return output._replace(embedding=self.conv_embedding(output.features))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Backbone outputs -> (N, K, h, w) logits, without the embedding."""
        return self.cls_seg(self.features(self.lift(self.embed(inputs))))
