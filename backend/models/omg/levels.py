"""Levels of detail: per-vertex features and positions subdivided together with the rig's mesh (paper, eq. 3 and sec. 9)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from backend.protocol.errors import WeightsError
from backend.rig.subdivision import subdivide


class MeshLevels(nn.Module):
    """A triangle mesh and its midpoint subdivisions: vertex counts, edges and faces of levels 0 to `levels`.

    Vertices of a level keep their index in the next, so each level's vertices begin with the coarser ones: what is known
    of LOD 0 is a part of what is known of LOD 2. The buffers follow the module's device and are no weights.
    """

    def __init__(self, faces: np.ndarray, vertices: int, levels: int) -> None:
        """
        Args:
            faces: [F, 3] triangles of the rig.
            vertices: V.
            levels: finest level.
        Raises:
            ValueError: a face points outside the vertices.
        """
        super().__init__()
        self.faces: list[np.ndarray] = [np.ascontiguousarray(faces, np.int64)]
        self.counts = [vertices]
        for level in range(levels):
            child, edges = subdivide(self.faces[level], self.counts[level])
            self.faces.append(child)
            self.counts.append(self.counts[level] + len(edges))
            self.register_buffer(f"edges{level + 1}", torch.from_numpy(edges.astype(np.int64)), persistent=False)

    @property
    def finest(self) -> int:
        """The finest level there is."""
        return len(self.counts) - 1

    def edges(self, level: int) -> Int[Tensor, "e 2"]:
        """Ends, in level - 1, of the edge whose middle is each new vertex of a level, 1 or more."""
        return self.get_buffer(f"edges{level}")

    def added(self, level: int) -> tuple[int, int]:
        """First and one past the last of the vertices that a level adds to the coarser one."""
        return (self.counts[level - 1] if level else 0, self.counts[level])

    def subdivide(self, values: Float[Tensor, "*b v c"], level: int) -> Float[Tensor, "*b w c"]:
        """Values of the rig's vertices at the vertices of a level: new ones are the mean of their edge's ends."""
        for step in range(1, level + 1):
            edges = self.edges(step)
            middle = (values[..., edges[:, 0], :] + values[..., edges[:, 1], :]) / 2
            values = torch.cat([values, middle], dim=-2)
        return values

    def check_table(self, table: np.ndarray, name: str = "subdivider._subdivided_faces") -> None:
        """That a checkpoint's own level-1 faces are ours, so that its features mean the same vertices.

        Raises:
            WeightsError: they are of another mesh or another order.
        """
        if self.finest == 0:
            return
        if table.shape != self.faces[1].shape or not np.array_equal(table, self.faces[1]):
            raise WeightsError(
                f"{name}: the weights' subdivided mesh is not this rig's", "use the weights with the rig that they were trained on"
            )
