"""Label correction on two graphs, the mathematics of MLLC.

H. Xiao, Y. Hong, L. Dong, D. Yan, J. Zhuang, J. Xiong, D. Liang, C. Peng, "Multi-Level Label
Correction by Distilling Proximate Patterns for Semi-supervised Semantic Segmentation", IEEE Trans.
Multimedia 26 (2024), https://arxiv.org/abs/2404.02065; behaviour checked against the authors'
released training script.

Every position of a feature map is a node, and every image has its own graphs. The semantic-level
graph (SLG) joins nodes with similar features and propagates class logits. The class-level graph
(CLG) joins nodes of one class and propagates features. With logits P, features F, thresholds eta::

    y_i  = argmax P_i,  r_i = [max softmax(P_i) >= eta_y]               confident nodes

    T_ij = max(0, cos(F_i, F_j)) for the top_k + 1 largest j of row i
    A    = T + T^T,  A^ = D^-1/2 A D^-1/2                               SLG, degrees D = A 1
    P~   = A^ P
    P'   = g_c(b P~ + (1 - b) P),  b_i = 0.2 if r_i else 0.8            label correction

    W_ij = cos(softmax(P'_i), softmax(P'_j)) [y_i = y_j]
    W^   = E^-1/2 W E^-1/2                                              CLG, degrees E = W 1
    F'   = g_f(W^ F)                                                    feature smoothing

The released code does this with about ten N x N matrices. Here the same numbers come from less: the
normalisation is a scaling of rows, T is a list of neighbours that is found in chunks, and W^ is
Q Q^T within each class, with Q of width K. Both graphs are symmetric and constant. So the gradient
of a propagation is a propagation of the gradient, and the backward pass needs nothing else.

Departs from the released code in: ties at the cut of the largest similarities are broken, the node
itself first, then by position; the clause "or max softmax >= 0.95" is left out, because eta never
exceeds 0.95; invalid nodes have no edges and keep their logits and features; the class y_i of a node
gates its edges, where the released code permutes the axes of the class map before (``clg_gate='permuted'``).

Shapes: B images, N = h w nodes of an image, K classes, D channels of the features.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_semi.errors import SetupError
from mmseg_semi.precision import exact

EPS = 1e-9
"""Number added to lengths before a division."""
EPS_DEGREE = 1e-10
"""Number added to degrees."""
SCORES = 1 << 22
"""Number of similarities that are computed at one time (16 MiB)."""
COLUMNS = 1024
"""Width of the block matrix of classes that is computed at one time."""
GATES = ('input', 'refined', 'permuted')


def to_nodes(maps: Tensor) -> Tensor:
    """Turn maps (B, C, h, w) into nodes (B, N, C), at least float32.

    Example:
        >>> to_nodes(torch.randn(2, 3, 5, 7)).shape
        torch.Size([2, 35, 3])
    """
    maps = maps if maps.dtype == torch.float64 else maps.float()
    return maps.flatten(2).transpose(1, 2)


def to_maps(nodes: Tensor, size: Sequence[int]) -> Tensor:
    """Turn nodes (B, N, C) into maps (B, C, h, w).

    Example:
        >>> to_maps(torch.randn(2, 35, 3), (5, 7)).shape
        torch.Size([2, 3, 5, 7])
    """
    return nodes.transpose(1, 2).unflatten(2, tuple(size))


def unit_rows(rows: Tensor, valid: Tensor | None) -> Tensor:
    """L2-normalise rows, and set invalid rows to 0, which removes their nodes from both graphs.

    Args:
        rows: (B, N, C).
        valid: (B, N) bool, or None if all rows are valid.

    Example:
        >>> rows = torch.tensor([[[3.0, 4.0], [1.0, 1.0]]])
        >>> unit_rows(rows, valid=torch.tensor([[True, False]]))
        tensor([[[0.6000, 0.8000],
                 [0.0000, 0.0000]]])
    """
    rows = rows / (rows.norm(dim=-1, keepdim=True) + EPS)
    return rows if valid is None else rows.masked_fill(~valid[..., None], 0.0)


def node_positions(
    count: int, side: int, align_corners: bool, grid: str, device: torch.device
) -> Tensor:
    """Compute the pixel at which each node stands, along one side.

    Args:
        count: Number of nodes along the side.
        side: Number of pixels along the side.
        align_corners: ``align_corners`` of the bilinear upsampling of the logits.
        grid: 'aligned' is the pixel at which bilinear upsampling puts the node. 'nearest' is
            floor(i side / count), as in the released code, which is off by up to a cell.
        device: Device of the result.

    Returns:
        (count,) int64.

    Example:
        >>> node_positions(5, 33, True, 'aligned', torch.device('cpu'))
        tensor([ 0,  8, 16, 24, 32])
        >>> node_positions(5, 33, True, 'nearest', torch.device('cpu'))
        tensor([ 0,  6, 13, 19, 26])
    """
    index = torch.arange(count, device=device)
    if grid == 'nearest':
        return index * side // count
    if not align_corners or count == 1:
        return (2 * index + 1) * side // (2 * count)
    # rounds half up, in integers
    return (2 * index * (side - 1) + count - 1) // (2 * (count - 1))


def at_nodes(
    maps: Tensor, size: Sequence[int], align_corners: bool = True, grid: str = 'aligned'
) -> Tensor:
    """Pick the values of a map of pixels at the nodes.

    Args:
        maps: (B, H, W) labels or validity.
        size: (h, w), number of nodes along each side.
        align_corners, grid: See :func:`node_positions`.

    Returns:
        (B, h, w).

    Example:
        >>> at_nodes(torch.randint(3, (2, 33, 65)), (5, 9)).shape
        torch.Size([2, 5, 9])
    """
    rows, columns = (
        node_positions(count, side, align_corners, grid, maps.device)
        for count, side in zip(size, maps.shape[1:], strict=True)
    )
    return maps.index_select(1, rows).index_select(2, columns)


def pool(maps: Tensor, cells: int, valid: Tensor | None = None) -> Tensor:
    """Average maps over the valid positions of square cells.

    Cells of the last row and column may be smaller. A cell without a valid position is 0.

    Args:
        maps: (B, C, h, w).
        cells: Positions along a cell's side.
        valid: (B, h, w) bool, or None if all positions are valid.

    Returns:
        (B, C, ceil(h / cells), ceil(w / cells)).

    Example:
        >>> pool(torch.randn(2, 3, 5, 7), cells=2).shape
        torch.Size([2, 3, 3, 4])
    """
    if cells == 1:
        return maps
    if valid is None:
        return F.avg_pool2d(maps, cells, ceil_mode=True, count_include_pad=False)
    valid = valid[:, None]
    shares = pool(valid.to(maps.dtype), cells)
    return pool(maps.masked_fill(~valid, 0.0), cells) / shares.where(shares > 0, 1.0)


def pool_valid(valid: Tensor | None, cells: int) -> Tensor | None:
    """Find the cells that hold a valid position.

    Args:
        valid: (B, h, w) bool, or None if all positions are valid.
        cells: Positions along a cell's side.

    Returns:
        (B, ceil(h / cells), ceil(w / cells)) bool, or None if ``valid`` is None.

    Example:
        >>> valid = torch.tensor([[[True, False, False, False]]])
        >>> pool_valid(valid, cells=2)
        tensor([[[ True, False]]])
    """
    if valid is None or cells == 1:
        return valid
    return F.max_pool2d(valid[:, None].float(), cells, ceil_mode=True)[:, 0] > 0


# -- the graphs ------------------------------------------------------------------------------------


class _Propagation(torch.autograd.Function):
    """Apply a constant symmetric operator to rows; the backward pass applies it to the gradient."""

    @staticmethod
    def forward(ctx, rows: Tensor, operator: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.operator = operator
        return operator(rows)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        with exact(grad.device):
            return ctx.operator(grad), None


class SemanticGraph:
    """Semantic-level graph of B images, as lists of neighbours; a call multiplies by A^.

    Args:
        features: (B, N, D); no gradient flows into them.
        top_k: Number of neighbours of a node besides itself (20).
        valid: (B, N) bool, or None if all nodes are valid.

    Example:
        >>> features, logits = torch.randn(2, 35, 8), torch.randn(2, 35, 3, requires_grad=True)
        >>> graph = SemanticGraph(features, top_k=5)
        >>> graph(logits).sum().backward()
        >>> graph.columns.shape, logits.grad.shape  # six neighbours with the node itself
        (torch.Size([70, 6]), torch.Size([2, 35, 3]))
    """

    @torch.no_grad()
    def __init__(self, features: Tensor, top_k: int = 20, valid: Tensor | None = None) -> None:
        images, nodes, _ = features.shape
        unit = unit_rows(features, valid)
        self.values, self.columns = nearest_nodes(unit, min(top_k + 1, nodes))
        # lists of T^T: the nodes that have this node as a neighbour
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
        """Compute A rows = T rows + T^T rows, without an (N, k, C) tensor."""
        out = F.embedding_bag(self.columns, rows, per_sample_weights=self.values, mode='sum')
        back = self.values.flatten()[self._order]
        return out + F.embedding_bag(
            self._senders, rows, self._offsets, per_sample_weights=back, mode='sum'
        )

    def _normalized(self, rows: Tensor) -> Tensor:
        flat = rows.reshape(-1, rows.shape[2])
        return (self._scale * self._adjacency(self._scale * flat)).view(rows.shape)

    def __call__(self, rows: Tensor) -> Tensor:
        """Compute A^ rows for (B, N, C) rows."""
        return _Propagation.apply(rows, self._normalized)


def nearest_nodes(unit: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the neighbours of each node, the largest max(0, u_i . u_j) of each row i.

    The node itself comes first. Ties go to the lower position.

    Args:
        unit: (B, N, D), rows of length 1 or 0.
        count: Number of neighbours with the node itself, at most N.

    Returns:
        values: (B, N, count) similarities, the node itself first, then from the largest on.
        columns: (B, N, count) int64, positions of the neighbours.

    Example:
        >>> unit = F.normalize(torch.randn(2, 35, 8), dim=2)
        >>> values, columns = nearest_nodes(unit, count=6)
        >>> values.shape, columns[0, :4, 0].tolist()
        (torch.Size([2, 35, 6]), [0, 1, 2, 3])
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
            # Floats that are not negative sort like their bits. Below the bits stands the
            # position. So ties have the same result on every device, which topk leaves open.
            keys = similarity.float().view(torch.int32).long()
            keys = keys.bitwise_left_shift_(32).bitwise_or_(backwards)
            keys.diagonal(start).fill_(torch.iinfo(torch.int64).max)
            chosen = keys.topk(count, dim=1).indices
            values[image, start : start + chunk] = similarity.gather(1, chosen)
            columns[image, start : start + chunk] = chosen
    return values, columns


class ClassGraph:
    """Class-level graph of B images, as two matrices per class; a call multiplies by W^.

    Args:
        logits: (B, N, K) corrected logits; no gradient flows into them.
        gate: (B, N) int64 in [0, K); only nodes of the same gate are joined.
        valid: (B, N) bool, or None if all nodes are valid.

    Example:
        >>> logits, features = torch.randn(2, 35, 3), torch.randn(2, 35, 8)
        >>> graph = ClassGraph(logits, gate=logits.argmax(dim=2))
        >>> graph(features).shape
        torch.Size([2, 35, 8])
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
            group = torch.arange(first, min(first + step, classes), device=rows.device)
            member = self.gate[..., None] == group  # (B, N, G)
            blocks = (member[..., None] * self.rows[:, :, None]).flatten(2)  # (B, N, G K)
            out += blocks @ (blocks.transpose(1, 2) @ scaled)
        return self._scale * out

    def __call__(self, rows: Tensor) -> Tensor:
        """Compute W^ rows for (B, N, D) rows."""
        return _Propagation.apply(rows, self._normalized)


def permuted_classes(classes: Tensor, num_classes: int) -> Tensor:
    """The class map as the released code's class-level graph reads it: one-hot, its axes permuted, cut into rows.

    The one-hot map is (B, h, w, K). The code permutes it by (0, 2, 3, 1), as if it were (B, K, h, w), to
    (B, w, K, h), and reads this memory as (B, h w, K). So a row is not the class of its node: it collects K
    neighbouring values of a column of the map, with none, one or several classes marked.

    Args:
        classes: (B, h, w) int64 in [0, K).
        num_classes: K.

    Returns:
        (B, h w, K) bool.

    Example:
        >>> permuted_classes(torch.tensor([[[0, 1], [1, 1]]]), num_classes=2)[0].int().tolist()
        [[1, 0], [0, 1], [0, 0], [1, 1]]
    """
    one_hot = F.one_hot(classes, num_classes).bool()
    return one_hot.permute(0, 2, 3, 1).reshape(len(classes), -1, num_classes)


class PermutedClassGraph:
    """Class-level graph whose nodes are joined if their rows of a table share a mark; a call multiplies by W^.

    W_ij = cos(softmax(P'_i), softmax(P'_j)) [rows i and j share a mark]. A node may have several marks, so this
    is no partition into classes as in :class:`ClassGraph`, and similarities are computed in chunks of rows. A
    node without a mark has no edge, not even to itself, and gets 0.

    Args:
        logits: (B, N, K) corrected logits; no gradient flows into them.
        marks: (B, N, K) bool, from :func:`permuted_classes`.
        valid: (B, N) bool, or None if all nodes are valid.

    Example:
        >>> logits, features = torch.randn(2, 35, 3), torch.randn(2, 35, 8)
        >>> marks = permuted_classes(logits.argmax(dim=2).view(2, 5, 7), num_classes=3)
        >>> PermutedClassGraph(logits, marks)(features).shape
        torch.Size([2, 35, 8])
    """

    @torch.no_grad()
    def __init__(self, logits: Tensor, marks: Tensor, valid: Tensor | None = None) -> None:
        self.rows = unit_rows(logits.softmax(dim=2), valid)
        self.marks = marks.to(self.rows.dtype)
        ones = torch.ones_like(self.rows[..., :1])
        self._scale = (self._adjacency(ones) + EPS_DEGREE).rsqrt()

    def _adjacency(self, rows: Tensor) -> Tensor:
        """Compute W rows."""
        images, nodes, _ = rows.shape
        chunk = max(1, min(nodes, SCORES // nodes))
        out = torch.empty_like(rows)
        for image in range(images):
            unit, marks = self.rows[image], self.marks[image]
            for start in range(0, nodes, chunk):
                part = slice(start, start + chunk)
                similarity = unit[part] @ unit.T
                out[image, part] = similarity * (marks[part] @ marks.T > 0) @ rows[image]
        return out

    def _normalized(self, rows: Tensor) -> Tensor:
        return self._scale * self._adjacency(self._scale * rows)

    def __call__(self, rows: Tensor) -> Tensor:
        """Compute W^ rows for (B, N, D) rows."""
        return _Propagation.apply(rows, self._normalized)


# -- rounds ----------------------------------------------------------------------------------------


class Level(NamedTuple):
    """Logits and features after a round; level 0 holds the network's outputs."""

    logits: Tensor
    """(B, K, h, w)."""
    features: Tensor | None
    """(B, D, h, w), or None if they were not needed."""


def confident_nodes(logits: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Find the confident nodes, and predict the class of each node.

    Args:
        logits: (B, N, K).
        thresholds: (K,) eta, the probability from which a prediction is confident.

    Returns:
        (B, N) bool, confident nodes, and (B, N) int64, classes.

    Example:
        >>> confident, classes = confident_nodes(torch.randn(2, 35, 3), torch.tensor([0.0, 0.9, 1.1]))
        >>> confident[classes == 0].all().item(), confident[classes == 2].any().item()
        (True, False)
    """
    confidence, classes = logits.softmax(dim=2).max(dim=2)
    return confidence >= thresholds[classes], classes


class GraphRound(nn.Module):
    """Correct logits on the semantic-level graph, then smooth features on the class-level graph.

    A subclass may set :attr:`class_layer` (g_c) and :attr:`feature_layer` (g_f). Both are the
    identity here, so there is no parameter.

    Args:
        top_k: Number of neighbours of a node besides itself (20).
        blend_reliable: Share of the neighbours' logits at confident nodes (0.2).
        blend_unreliable: Share of the neighbours' logits at the other nodes (0.8).
        clg_gate: Classes that gate the class-level graph: 'input', those of the round's input;
            'refined', those of the corrected logits; or 'permuted', those of the round's input in the
            released code's order, which scrambles them (:func:`permuted_classes`).

    Raises:
        SetupError: If a value is out of range.

    Example:
        >>> level = Level(torch.randn(2, 3, 5, 7), torch.randn(2, 8, 5, 7))
        >>> corrected = GraphRound(top_k=5)(level, thresholds=torch.full((3,), 0.95))
        >>> corrected.logits.shape, corrected.features.shape
        (torch.Size([2, 3, 5, 7]), torch.Size([2, 8, 5, 7]))
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
                f'graph: blend_reliable={blend_reliable}, blend_unreliable={blend_unreliable}; '
                'expected numbers in [0, 1]'
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
        """Compute the next level.

        Args:
            level: Logits and features of the same resolution.
            thresholds: (K,) eta.
            valid: (B, h, w) bool, or None. Invalid nodes have no edges and keep their logits and
                features.
            features: Whether the smoothed features are needed.
        """
        size = level.logits.shape[2:]
        if valid is not None:
            valid = valid.flatten(1)
        with exact(level.logits.device):
            logits, old = to_nodes(level.logits), to_nodes(level.features)
            confident, classes = confident_nodes(logits, thresholds)
            spread = keep_invalid(SemanticGraph(old, self.top_k, valid)(logits), logits, valid)
            more = self.blend_reliable - self.blend_unreliable
            share = self.blend_unreliable + more * confident[..., None].to(logits.dtype)
            blended = logits.lerp(spread, share)
        refined = self.class_layer(to_maps(blended, size))
        if not features:
            return Level(refined, None)
        with exact(level.logits.device):
            graph = self._class_graph(to_nodes(refined.detach()), classes, size, valid)
            smooth = keep_invalid(graph(old), old, valid)
        return Level(refined, self.feature_layer(to_maps(smooth, size)))

    def _class_graph(
        self, corrected: Tensor, classes: Tensor, size: Sequence[int], valid: Tensor | None
    ) -> ClassGraph | PermutedClassGraph:
        """The class-level graph of corrected logits, (B, N, K), gated by ``clg_gate``."""
        if self.clg_gate == 'permuted':
            marks = permuted_classes(classes.unflatten(1, tuple(size)), corrected.shape[2])
            return PermutedClassGraph(corrected, marks, valid)
        gate = classes if self.clg_gate == 'input' else corrected.argmax(dim=2)
        return ClassGraph(corrected, gate, valid)


def keep_invalid(new: Tensor, old: Tensor, valid: Tensor | None) -> Tensor:
    """Take ``new`` at valid nodes and ``old`` at the others.

    Args:
        new, old: (B, N, C).
        valid: (B, N) bool, or None if all nodes are valid.

    Example:
        >>> valid = torch.tensor([[True, False]])
        >>> keep_invalid(torch.ones(1, 2, 1), torch.zeros(1, 2, 1), valid).flatten()
        tensor([1., 0.])
    """
    return new if valid is None else torch.where(valid[..., None], new, old)


def run_rounds(
    rounds: Sequence[GraphRound],
    first: Level,
    thresholds: Tensor,
    valid: Tensor | None = None,
    last_features: bool = True,
) -> list[Level]:
    """Run several rounds, each on the level before it.

    Args:
        rounds: The rounds (2).
        first: Level 0, the network's outputs.
        thresholds: (K,) eta, the same for all rounds.
        valid: (B, h, w) bool, or None if all nodes are valid.
        last_features: Whether the features of the last level are needed.

    Returns:
        All levels, level 0 first.

    Example:
        >>> first = Level(torch.randn(2, 3, 5, 7), torch.randn(2, 8, 5, 7))
        >>> levels = run_rounds([GraphRound(), GraphRound()], first, torch.full((3,), 0.95))
        >>> len(levels), levels[-1].logits.shape
        (3, torch.Size([2, 3, 5, 7]))
    """
    levels = [first]
    for index, graph_round in enumerate(rounds):
        needed = last_features or index + 1 < len(rounds)
        levels.append(graph_round(levels[-1], thresholds, valid, needed))
    return levels
