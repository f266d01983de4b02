"""The default reconstructor: no learned weights beyond the tracker's, two CPU cores, some seconds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from backend.models.interface import Listener
from backend.protocol import Cancelled, FaceError
from backend.protocol.avatar import F32, Avatar, Driver, RigArrays
from backend.rig import pose_vertices
from backend.rig.rig import Rig
from backend.tracking.fit import Fit, fit
from backend.tracking.portrait import Portrait

from . import mesh
from .anatomy import Anatomy
from .blend import blend, light_gains, shares
from .ears import tuck_ears, visible_ears
from .fill import Fill, fill_colors, fill_labels
from .hair import raise_hair
from .hair_texture import HairTexture
from .labels import HAIR, SKIN, Labels, label_pixels, rows_below_collar
from .levels import Head, build_level, kinds_on, observe_views
from .mouth import close_lips, mouth_pixels, place_teeth
from .shoulders import build_shoulders
from .surface import Surface
from .view import View, inner_box

LEVEL_SHARES = ((0.45, 0.55), (0.55, 0.72), (0.72, 0.99))
"""Where each level lies in the whole job's progress."""
LIPS_PARTED = "lipsParted"
"""Extra expression of every avatar: opens the closed neutral lips as far as the portrait's fit left them."""


class Projection:
    """Fit a parametric head, project the photo onto it, complete what is hidden, raise the hair, add shoulders."""

    name = "projection"
    licence = "GPL-3.0-or-later; landmark and matte nets Apache-2.0 (MediaPipe)"

    def reconstruct(self, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """See `backend.models.interface.Reconstructor`."""
        if not portraits:
            raise FaceError("no portrait given", "give at least one photo with a face")
        listener.progress(0.02, "fit", "fitting the head to the landmarks")
        fitted = fit_while_reporting(portraits, rig, listener)
        return reconstruct_fitted(portraits, rig, fitted, listener)


def fit_while_reporting(portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Fit:
    """The fit takes a second or two in one piece: it runs in a thread so that progress, and cancelling, go on."""
    abandoned = threading.Event()

    def check() -> None:
        if abandoned.is_set():
            raise Cancelled("the fit was abandoned")

    with ThreadPoolExecutor(1, "fit") as pool:
        job = pool.submit(fit, portraits, rig, check)
        share = 0.02
        try:
            while not wait([job], timeout=0.2).done:
                share += 0.1 * (0.25 - share)
                listener.progress(share, "fit", "fitting the head to the landmarks")
        except BaseException:
            abandoned.set()  # else leaving the pool waits for the whole fit
            raise
        return job.result()


def reconstruct_fitted(portraits: Sequence[Portrait], rig: Rig, fitted: Fit, listener: Listener) -> Avatar:
    """The pipeline after the fit."""
    order = [fitted.reference, *(i for i in range(len(portraits)) if i != fitted.reference)]
    listener.progress(0.25, "hair", "reading the matte and raising the hair")
    anatomy = Anatomy.of(rig)
    views = [View.of(portraits[i], fitted.drivers[i]) for i in order]
    ears = visible_ears(views[0])
    labels = [label_pixels(view, ears) for view in views]
    mouths = [mouth_pixels(view) for view in views]

    baked, drivers, height = _bake(rig, fitted, order, anatomy, views, labels, ears)
    listener.rig(baked)
    views = [replace(view, driver=drivers[i]) for view, i in zip(views, order, strict=True)]
    posed = [_posed(baked, drivers[i], fitted.corrections[i]) for i in order]

    listener.progress(0.37, "project", "projecting the photo")
    base = Surface.of(baked)
    kinds = kinds_on(base, baked, anatomy, height)
    seen = observe_views(base, kinds, baked, views, labels, mouths, posed, ears)
    gains = light_gains(anatomy, seen)
    merged = blend(seen, gains, shares(views, seen, kinds.expressive))
    listener.progress(0.40, "fill", "completing what the photo hides")
    depth_below = _below_collar(views[0], labels[0], posed[0])
    label = fill_labels(baked.vertices, anatomy, height, merged, depth_below < 0, labels[0].present, ears)
    buried = np.maximum(anatomy.base, anatomy.neck * np.clip(depth_below / (0.012 * anatomy.unit) - 1.5, 0, 1)).astype(np.float32)
    fill = Fill(label, fill_colors(baked.vertices, anatomy, label, merged, labels[0], views[0]))
    listener.progress(0.43, "shoulders", "building the shoulders")
    shoulders = build_shoulders(views[0], labels[0], posed[0], baked, anatomy, buried)

    distance = float(np.median(views[0].camera.project(posed[0])[:, 2]))
    hair = HairTexture.of(views[0], labels[0], distance / views[0].camera.focal) if labels[0].present[HAIR] else None
    head = Head(baked, anatomy, views, labels, mouths, posed, gains, height, buried, fill, ears, labels[0].colour[SKIN], hair)
    lods = []
    for level, (start, end) in enumerate(LEVEL_SHARES):
        report = partial(_report_level, listener, level, start, end)
        report(0.0)
        splats, solved = build_level(head, level, shoulders, report)
        shoulders = solved if level == 1 else shoulders
        lods.append(splats)
        listener.lod(level, splats, solved if level == 0 else shoulders)
    listener.progress(1.0, "done")
    return Avatar(baked, tuple(lods), shoulders, tuple(drivers), provenance(portraits, rig))


def _posed(rig: RigArrays, driver: Driver, correction: F32) -> F32:
    """[V, 3] the rig as in one portrait, its landmarks exactly where they were seen."""
    return pose_vertices(replace(rig, vertices=rig.vertices + correction), driver.expression, driver.pose)


def _still_base(weights: F32) -> F32:
    """Skinning weights whose neck base is the root's alone, so that shoulders bound there do not tilt with the head."""
    still = weights[:, :1] > 0.99
    return np.where(still, np.eye(weights.shape[1], dtype=np.float32)[0], weights).astype(np.float32)


def _below_collar(view: View, labels: Labels, posed: F32) -> F32:
    """[V] how far each posed vertex lies below the collar in the photo, metres; negative above it."""
    pixels = view.camera.project(posed)
    return rows_below_collar(view, labels, pixels) * pixels[:, 2] / view.camera.focal


def _bake(rig, fitted, order, anatomy, views, labels, ears) -> tuple[RigArrays, list[Driver], F32]:
    """Neutral head with teeth placed, lips closed and hair raised; drivers that open the lips again; hair height [V]."""
    neutral = fitted.vertices
    bare = rig.bake(neutral)
    posed = [_posed(bare, fitted.drivers[i], fitted.corrections[i]) for i in order]
    parts = place_teeth(neutral, posed[0], anatomy, views[0]) + tuck_ears(neutral, rig.faces, posed[0], anatomy, views[0], ears)
    closing = close_lips(neutral, rig.faces, anatomy)
    height = raise_hair(neutral, posed, rig.faces, anatomy, views, labels, ears)
    raised = neutral + mesh.vertex_normals(neutral, rig.faces) * height[:, None]
    baked = rig.bake((raised + parts + closing).astype(np.float32))
    baked = replace(
        baked,
        joints=bare.joints,  # of the bare head: hair must not move the joints
        weights=_still_base(baked.weights),
        expressions=np.concatenate([baked.expressions, -closing[None]]).astype(np.float32),
        expression_names=(*baked.expression_names, LIPS_PARTED),
    )
    opened = [replace(d, expression={**d.expression, LIPS_PARTED: 1.0}) for d in fitted.drivers]
    return baked, opened, height


def _report_level(listener: Listener, level: int, start: float, end: float, share: float) -> None:
    listener.progress(start + share * (end - start), f"lod {level}", f"level of detail {level}")


def provenance(portraits: Sequence[Portrait], rig: Rig) -> dict[str, object]:
    """Where an avatar came from, as the file states it."""
    from backend import __version__

    return {
        "name": portraits[0].name.rsplit(".", 1)[0],
        "sources": [{"name": p.name, "sha256": p.sha256, "crop": list(inner_box(p))} for p in portraits],
        "model": Projection.name,
        "rig": rig.rig_id,
        "licences": {"model": Projection.licence, "rig": rig.licence},
        "consent": "not stated",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": f"lookalike {__version__}",
    }
