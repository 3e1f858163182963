"""Label correction on two graphs: the mathematics of MLLC.

H. Xiao, Y. Hong, L. Dong, D. Yan, J. Zhuang, J. Xiong, D. Liang, C. Peng, "Multi-Level Label Correction by Distilling
Proximate Patterns for Semi-supervised Semantic Segmentation", IEEE Trans. Multimedia 26 (2024), arXiv 2404.02065; behaviour
checked against the authors' released training script.

Every position of a feature map is a node, every image has its own graphs. The semantic-level graph (SLG) joins nodes that
look alike and propagates class logits; the class-level graph (CLG) joins nodes of one class and propagates features:

    r_i  = [max softmax(P_i) >= eta_y],  y_i = argmax P_i                        how sure a node is of itself
    T_ij = max(0, cos(F_i, F_j)) for the top_k + 1 largest j of row i, A = T + T^T, A^ = D^-1/2 A D^-1/2
    P~   = A^ P,  P' = g_c(b P~ + (1 - b) P),  b_i = 0.2 if r_i else 0.8         label correction
    W_ij = cos(softmax(P'_i), softmax(P'_j)) [y_i = y_j],  W^ = E^-1/2 W E^-1/2
    F'   = g_f(W^ F)                                                             feature smoothing

The released code does this with some ten N x N matrices. The same numbers come from: the normalisation as a scaling of rows;
T as a list of neighbours, found in chunks; W^ as Q Q^T within each class, with Q of width K. Both graphs are symmetric and
constant, so the gradient of a propagation is a propagation of the gradient, and nothing else is kept for it.

Departs from the released code in: at the cut of the largest similarities ties are broken, the node itself first, then by
position; the clause "or max softmax >= 0.95" is left out, for eta never exceeds 0.95; nodes that are not valid have no
edges and keep what they have.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.errors import SetupError

EPS = 1e-9
"""Added to lengths before a division."""
EPS_DEGREE = 1e-10
"""Added to degrees."""
SCORES = 1 << 22
"""Similarities that are computed at a time (16 MiB)."""
COLUMNS = 1024
"""Width of the block matrix of classes at a time."""
GATES = ('input', 'refined')


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Within it products are float32 at least: half precision or TF32 would choose other neighbours."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def to_nodes(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, N, C), at least float32."""
    maps = maps if maps.dtype == torch.float64 else maps.float()
    return maps.flatten(2).transpose(1, 2)


def to_maps(nodes: Tensor, size: Sequence[int]) -> Tensor:
    """(B, N, C) -> (B, C, h, w)."""
    return nodes.transpose(1, 2).unflatten(2, tuple(size))


def unit_rows(rows: Tensor, valid: Tensor | None) -> Tensor:
    """Rows over their length; 0 where not valid, which takes a node out of either graph."""
    rows = rows / (rows.norm(dim=-1, keepdim=True) + EPS)
    return rows if valid is None else rows.masked_fill(~valid[..., None], 0.0)


def node_positions(
    count: int, side: int, align_corners: bool, grid: str, device: torch.device
) -> Tensor:
    """(count,) int64, the pixel a node stands for along one side.

    ``grid='aligned'``: the pixel that bilinear upsampling puts the node on. 'nearest': floor(i side / count), the released
    code's, which drifts from it by up to a cell.
    """
    index = torch.arange(count, device=device)
    if grid == 'nearest':
        return index * side // count
    if not align_corners or count == 1:
        return (2 * index + 1) * side // (2 * count)
    # round half up, in integers
    return (2 * index * (side - 1) + count - 1) // (2 * (count - 1))


def at_nodes(
    maps: Tensor, size: Sequence[int], align_corners: bool = True, grid: str = 'aligned'
) -> Tensor:
    """Labels or validity (B, H, W) at the nodes, (B, h, w)."""
    rows, columns = (
        node_positions(count, side, align_corners, grid, maps.device)
        for count, side in zip(size, maps.shape[1:], strict=True)
    )
    return maps.index_select(1, rows).index_select(2, columns)


def pool(maps: Tensor, cells: int, valid: Tensor | None = None) -> Tensor:
    """Mean over the valid ones of cells x cells positions, those of the last row and column over what is there; 0 where none is.

    Args:
        maps: (B, C, h, w).
        cells: Positions a side.
        valid: (B, h, w) bool, or None: all.
    """
    if cells == 1:
        return maps
    if valid is None:
        return F.avg_pool2d(maps, cells, ceil_mode=True, count_include_pad=False)
    valid = valid[:, None]
    shares = pool(valid.to(maps.dtype), cells)
    return pool(maps.masked_fill(~valid, 0.0), cells) / shares.where(shares > 0, 1.0)


def pool_valid(valid: Tensor | None, cells: int) -> Tensor | None:
    """Which cells hold a valid position: (B, h, w) bool or None, like ``valid``."""
    if valid is None or cells == 1:
        return valid
    return F.max_pool2d(valid[:, None].float(), cells, ceil_mode=True)[:, 0] > 0


# -- the graphs ------------------------------------------------------------------------------------


class _Propagation(torch.autograd.Function):
    """A constant symmetric operator on rows: its transpose is itself."""

    @staticmethod
    def forward(ctx, rows: Tensor, operator: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.operator = operator
        return operator(rows)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        with exact(grad.device):
            return ctx.operator(grad), None


class SemanticGraph:
    """The semantic-level graph of B images, as lists of neighbours.

    Args:
        features: (B, N, D); no gradient flows into them.
        top_k: Neighbours of a node besides itself.
        valid: (B, N) bool or None.
    """

    @torch.no_grad()
    def __init__(self, features: Tensor, top_k: int = 20, valid: Tensor | None = None) -> None:
        images, nodes, _ = features.shape
        unit = unit_rows(features, valid)
        self.values, self.columns = nearest_nodes(unit, min(top_k + 1, nodes))
        # the lists of T^T: who has me as a neighbour
        first = torch.arange(images, device=features.device)[:, None, None] * nodes
        self.columns = (self.columns + first).flatten(0, 1)  # (B N, k)
        self.values = self.values.flatten(0, 1)
        receivers = self.columns.flatten()
        self._order = receivers.argsort(stable=True)
        counts = torch.zeros(images * nodes, device=features.device, dtype=torch.int64)
        counts.scatter_add_(0, receivers, torch.ones_like(receivers))
        self._offsets = counts.cumsum(0) - counts
        self._senders = self._order // self.columns.shape[1]
        ones = self.values.new_ones(images * nodes, 1)
        self.degrees = self._adjacency(ones) + EPS_DEGREE  # (B N, 1)
        self._scale = self.degrees.rsqrt()

    def _adjacency(self, rows: Tensor) -> Tensor:
        """A rows = T rows + T^T rows, without an (N, k, C) tensor."""
        out = F.embedding_bag(self.columns, rows, per_sample_weights=self.values, mode='sum')
        back = self.values.flatten()[self._order]
        return out + F.embedding_bag(
            self._senders, rows, self._offsets, per_sample_weights=back, mode='sum'
        )

    def _normalized(self, rows: Tensor) -> Tensor:
        flat = rows.reshape(-1, rows.shape[2])
        return (self._scale * self._adjacency(self._scale * flat)).view(rows.shape)

    def __call__(self, rows: Tensor) -> Tensor:
        """A^ rows, (B, N, C) -> (B, N, C)."""
        return _Propagation.apply(rows, self._normalized)


def nearest_nodes(unit: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest max(0, u_i . u_j) of each row i, itself first where it ties, then by position.

    Args:
        unit: (B, N, D), rows of length 1 or 0.
        count: At most N.

    Returns:
        values: (B, N, count), from the largest on, but the node itself comes first.
        columns: (B, N, count) int64.
    """
    images, nodes, _ = unit.shape
    chunk = max(1, min(nodes, SCORES // nodes))
    values = unit.new_empty(images, nodes, count)
    columns = torch.empty(images, nodes, count, dtype=torch.int64, device=unit.device)
    backwards = torch.arange(nodes - 1, -1, -1, device=unit.device)
    for image in range(images):
        rows = unit[image]
        for start in range(0, nodes, chunk):
            part = rows[start : start + chunk]
            similarity = (part @ rows.T).relu_()
            # Floats that are not negative sort like their bits; below the bits, the position. The key makes the choice
            # the same on every device, which topk leaves open where values tie.
            keys = similarity.float().view(torch.int32).long()
            keys = keys.bitwise_left_shift_(32).bitwise_or_(backwards)
            keys.diagonal(start).fill_(torch.iinfo(torch.int64).max)
            chosen = keys.topk(count, dim=1).indices
            values[image, start : start + chunk] = similarity.gather(1, chosen)
            columns[image, start : start + chunk] = chosen
    return values, columns


class ClassGraph:
    """The class-level graph of B images, as a product of two matrices a class.

    Args:
        logits: (B, N, K) corrected ones; no gradient flows into them.
        gate: (B, N) int64 in [0, K): only nodes of one gate are joined.
        valid: (B, N) bool or None.
    """

    @torch.no_grad()
    def __init__(self, logits: Tensor, gate: Tensor, valid: Tensor | None = None) -> None:
        self.gate = gate
        self.rows = unit_rows(logits.softmax(dim=2), valid)  # Q
        classes = logits.shape[2]
        index = gate[..., None].expand_as(self.rows)
        sums = torch.zeros_like(self.rows[:, :1]).repeat(1, classes, 1)  # (B, K, K)
        sums.scatter_add_(1, index, self.rows)
        self.degrees = (self.rows * sums.gather(1, index)).sum(2, keepdim=True) + EPS_DEGREE
        self._scale = self.degrees.rsqrt()

    def _normalized(self, rows: Tensor) -> Tensor:
        scaled = self._scale * rows
        classes = self.rows.shape[2]
        step = max(1, COLUMNS // classes)
        out = torch.zeros_like(scaled)
        for first in range(0, classes, step):
            some = torch.arange(first, min(first + step, classes), device=rows.device)
            own = self.gate[..., None] == some  # (B, N, G)
            blocks = (own[..., None] * self.rows[:, :, None]).flatten(2)  # (B, N, G K)
            out += blocks @ (blocks.transpose(1, 2) @ scaled)
        return self._scale * out

    def __call__(self, rows: Tensor) -> Tensor:
        """W^ rows, (B, N, D) -> (B, N, D)."""
        return _Propagation.apply(rows, self._normalized)


# -- rounds ----------------------------------------------------------------------------------------


class Level(NamedTuple):
    """Logits and features after a round; level 0 is what the network said."""

    logits: Tensor
    """(B, K, h, w)."""
    features: Tensor | None
    """(B, D, h, w); None where nobody asked."""


def sure_nodes(logits: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Which nodes are sure of themselves, and their classes.

    Args:
        logits: (B, N, K).
        thresholds: (K,) eta.

    Returns:
        (B, N) bool and (B, N) int64.
    """
    confidence, classes = logits.softmax(dim=2).max(dim=2)
    return confidence >= thresholds[classes], classes


class GraphRound(nn.Module):
    """One round: logits over the semantic-level graph, then features over the class-level graph.

    Args:
        top_k: Neighbours of a node besides itself.
        blend_reliable: Share of the neighbours' logits where a node is sure of itself.
        blend_unreliable: Share where it is not.
        clg_gate: Which classes gate the class-level graph: 'input', the round's own (the released code's), or 'refined',
            those of the corrected logits.

    Without :attr:`class_layer` and :attr:`feature_layer`, which a subclass or a head may set, there is no parameter.

    Raises:
        SetupError: A value out of range.
    """

    def __init__(
        self,
        top_k: int = 20,
        blend_reliable: float = 0.2,
        blend_unreliable: float = 0.8,
        clg_gate: str = 'input',
    ) -> None:
        super().__init__()
        if top_k < 0:
            raise SetupError(f'graph.top_k={top_k}: expected a number of neighbours >= 0')
        if not (0 <= blend_reliable <= 1 and 0 <= blend_unreliable <= 1):
            raise SetupError(
                f'graph: blend_reliable={blend_reliable}, blend_unreliable={blend_unreliable}; expected shares in [0, 1]'
            )
        if clg_gate not in GATES:
            raise SetupError(f"graph.clg_gate='{clg_gate}': expected one of {GATES}")
        self.top_k = top_k
        self.blend_reliable, self.blend_unreliable = blend_reliable, blend_unreliable
        self.clg_gate = clg_gate
        self.class_layer: nn.Module = nn.Identity()
        self.feature_layer: nn.Module = nn.Identity()

    def forward(
        self,
        level: Level,
        thresholds: Tensor,
        valid: Tensor | None = None,
        features: bool = True,
    ) -> Level:
        """The next level.

        Args:
            level: Logits and features of one resolution.
            thresholds: (K,) eta.
            valid: (B, h, w) bool; False nodes have no edges and keep what they have.
            features: Whether anybody wants the smoothed features.
        """
        size = level.logits.shape[2:]
        if valid is not None:
            valid = valid.flatten(1)
        with exact(level.logits.device):
            logits, old = to_nodes(level.logits), to_nodes(level.features)
            sure, classes = sure_nodes(logits, thresholds)
            spread = keep_invalid(SemanticGraph(old, self.top_k, valid)(logits), logits, valid)
            more = self.blend_reliable - self.blend_unreliable
            share = self.blend_unreliable + more * sure[..., None].to(logits.dtype)
            blended = logits.lerp(spread, share)
        refined = self.class_layer(to_maps(blended, size))
        if not features:
            return Level(refined, None)
        with exact(level.logits.device):
            corrected = to_nodes(refined.detach())
            gate = classes if self.clg_gate == 'input' else corrected.argmax(dim=2)
            smooth = keep_invalid(ClassGraph(corrected, gate, valid)(old), old, valid)
        return Level(refined, self.feature_layer(to_maps(smooth, size)))


def keep_invalid(new: Tensor, old: Tensor, valid: Tensor | None) -> Tensor:
    """``new`` at valid nodes, ``old`` at the others."""
    return new if valid is None else torch.where(valid[..., None], new, old)


def run_rounds(
    rounds: Sequence[GraphRound],
    first: Level,
    thresholds: Tensor,
    valid: Tensor | None = None,
    last_features: bool = True,
) -> list[Level]:
    """Levels 0..K: every round begins with what the one before it said.

    Args:
        rounds: K rounds.
        first: Level 0.
        thresholds: (K,) eta, the same for all rounds.
        valid: (B, h, w) bool or None.
        last_features: Whether anybody wants the features of the last level.
    """
    levels = [first]
    for index, one in enumerate(rounds):
        wanted = last_features or index + 1 < len(rounds)
        levels.append(one(levels[-1], thresholds, valid, wanted))
    return levels
