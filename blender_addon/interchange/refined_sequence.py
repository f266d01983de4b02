"""Refined frames (`lookalike render --refined --motion`) in Blender: a camera where the refiner's stood, and the pictures before it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..avatar import armature_of, head_of
from ..avatar.frames import TO_BLENDER
from ..protocol import AvatarFileError
from ..protocol.avatar import F32

NOTE = ".sequence.json"
FORMAT = 1
SENSOR = 36.0
_MOST_BYTES = 1 << 16
_MOST_PICTURES = 1 << 31
_MOST_PIXELS = 1 << 16
_LONGEST_STEM = 240
"""Bytes; with a number and .png still a file's name everywhere."""
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class SequenceNote:
    """What stands in the note beside the pictures; the camera as in `protocol.Driver`.

    Attributes:
        first_file: path of the first picture. first, count: numbers of the files.
    """

    first_file: Path
    first: int
    count: int
    size: tuple[int, int]
    world_to_camera: F32
    intrinsics: F32


def read_note(path: str | Path) -> SequenceNote:
    """A checked note.

    Raises:
        AvatarFileError: missing, damaged, of another version, or without its pictures.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise AvatarFileError(f"{path.name}: cannot be read ({error.strerror})", "check the path") from error
    try:
        told = json.loads(text)
        if told["lookalike_sequence"] != FORMAT:
            raise ValueError("another version")
        stem, first, count = _names(told)
        size, view, lens = _seen(told)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise AvatarFileError(
            f"{path.name}: is no note of refined frames", "choose the NAME.sequence.json that was written with them"
        ) from error
    picture = path.with_name(f"{stem}_{first:04d}.png")
    if not os.path.isfile(picture):
        raise AvatarFileError(f"{picture.name}: there is no such file", "keep the pictures beside their note")
    return SequenceNote(picture, first, count, size, view, lens)


def _names(told: dict) -> tuple[str, int, int]:
    """What all pictures' names begin with, the number of the first, and how many there are; ValueError where no files are called so."""
    stem, first, count = str(told["stem"]), int(told["first"]), int(told["count"])
    if Path(stem).name != stem or "\0" in stem or len(stem.encode()) > _LONGEST_STEM:
        raise ValueError("an impossible name")
    if not 1 <= count < _MOST_PICTURES or not 0 <= first < _MOST_PICTURES:
        raise ValueError("impossible numbers")
    return stem, first, count


def _seen(told: dict) -> tuple[tuple[int, int], F32, F32]:
    """Size of the pictures, world to camera and intrinsics; ValueError where no camera sees so."""
    size = int(told["size"][0]), int(told["size"][1])
    if not 1 <= min(size) <= max(size) <= _MOST_PIXELS:
        raise ValueError("an impossible size")
    with np.errstate(over="ignore"):  # too much for float32 becomes infinite, and is refused as that
        view, lens = np.array(told["world_to_camera"], np.float32), np.array(told["intrinsics"], np.float32)
    usable = view.shape == (4, 4) and lens.shape == (3, 3) and np.isfinite(view).all() and np.isfinite(lens).all()
    if not usable or min(lens[0, 0], lens[1, 1]) <= 0 or not abs(float(np.linalg.det(view[:3, :3].astype(np.float64))) - 1) <= 1e-2:
        raise ValueError("an impossible camera")
    return size, view, lens


def add_refined_sequence(
    avatar: bpy.types.Collection, path: str | Path, start: int | None = None, plane: bool = False, use: bool = True
) -> bpy.types.Object:
    """A camera that sees the avatar as the refiner did, with the refined frames before its view. Returns the camera.

    It is the armature's child, so that the pictures lie on the avatar wherever that stands.

    Args:
        start: the scene's frame of the first picture; the scene's first by default.
        plane: also a plane in the scene with the pictures, which renders.
        use: make it the scene's camera, with the pictures' resolution.
    Raises:
        AvatarFileError: as `read_note`, or the avatar has lost its rig.
    """
    note = read_note(path)
    armature = armature_of(avatar)
    if armature is None:
        raise AvatarFileError(f"{avatar.name}: has lost its rig", "undo the deletion or import it again")
    scene = bpy.context.scene
    made: list[bpy.types.ID] = []
    try:
        camera = _shown(made, avatar, note, scene.frame_start if start is None else start, plane)
        for obj in made:
            if isinstance(obj, bpy.types.Object):
                scene.collection.objects.link(obj)
        camera.parent = armature
    except BaseException:
        bpy.data.batch_remove(made)
        raise
    if use:
        scene.camera = camera
        scene.render.resolution_x, scene.render.resolution_y = note.size
        scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0
    return camera


def _shown(made: list[bpy.types.ID], avatar: bpy.types.Collection, note: SequenceNote, begin: int, plane: bool) -> bpy.types.Object:
    """The camera, its pictures, and the plane below it; every new data-block is in `made`, also of what fails half-way."""
    camera = _camera(made, f"{avatar.name}.refined", note)
    image = _image(made, note)
    background = camera.data.background_images.new()
    background.image, background.alpha, background.display_depth, background.frame_method = image, 1.0, "FRONT", "FIT"
    _play(background.image_user, note, begin)
    camera.data.show_background_images = True
    if plane:
        _plane(made, f"{avatar.name}.refined.plane", note, image, begin, _distance(avatar, note)).parent = camera
    return camera


def _camera(made: list[bpy.types.ID], name: str, note: SequenceNote) -> bpy.types.Object:
    """OpenCV's pinhole as Blender's camera: lens and shift over a sensor that the picture's width fills."""
    width, height = note.size
    data = bpy.data.cameras.new(name)
    made.append(data)
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR
    data.lens = float(note.intrinsics[0, 0]) * SENSOR / width
    data.shift_x = (width / 2 - float(note.intrinsics[0, 2])) / width
    data.shift_y = (float(note.intrinsics[1, 2]) - height / 2) / width
    data.clip_start = 0.01
    turn = np.eye(4)
    turn[:3, :3] = TO_BLENDER
    obj = bpy.data.objects.new(name, data)
    made.append(obj)
    obj.matrix_basis = Matrix((turn @ np.linalg.inv(note.world_to_camera.astype(np.float64)) @ _FLIP).tolist())
    return obj


def _image(made: list[bpy.types.ID], note: SequenceNote) -> bpy.types.Image:
    from ..rendering.colour import image_space

    try:
        image = bpy.data.images.load(str(note.first_file), check_existing=False)
    except RuntimeError as error:
        raise AvatarFileError(f"{note.first_file.name}: cannot be read", "check the path") from error
    made.append(image)
    image.source = "SEQUENCE"
    image.alpha_mode = "STRAIGHT"
    # So that the scene's view transform shows the pictures as they are.
    image.colorspace_settings.name = image_space(bpy.context.scene.view_settings.view_transform) or "sRGB"
    return image


def _play(user: bpy.types.ImageUser, note: SequenceNote, begin: int) -> None:
    user.frame_start, user.frame_duration, user.frame_offset = begin, note.count, note.first - 1
    user.use_auto_refresh = True


def _distance(avatar: bpy.types.Collection, note: SequenceNote) -> float:
    """Metres from the camera to the middle of the head at rest."""
    head = head_of(avatar)
    middle = Vector((0.0, 0.0, 0.0)) if head is None else sum((Vector(c) for c in head.bound_box), Vector()) / 8
    in_avatar = TO_BLENDER.T @ np.array(middle)
    return float((note.world_to_camera[:3, :3] @ in_avatar + note.world_to_camera[:3, 3])[2])


def _plane(
    made: list[bpy.types.ID], name: str, note: SequenceNote, image: bpy.types.Image, begin: int, distance: float
) -> bpy.types.Object:
    """A rectangle that just fills the camera's view at a distance, shining in the pictures' colours."""
    fx, fy = float(note.intrinsics[0, 0]), float(note.intrinsics[1, 1])
    cx, cy = float(note.intrinsics[0, 2]), float(note.intrinsics[1, 2])
    width, height = note.size
    left, right = (-cx / fx * distance, (width - cx) / fx * distance)
    low, high = ((cy - height) / fy * distance, cy / fy * distance)
    mesh = bpy.data.meshes.new(name)
    made.append(mesh)
    corners = [(left, low, -distance), (right, low, -distance), (right, high, -distance), (left, high, -distance)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    mesh.uv_layers.new().data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
    mesh.materials.append(_shining(made, name, note, image, begin))
    obj = bpy.data.objects.new(name, mesh)
    made.append(obj)
    return obj


def _shining(made: list[bpy.types.ID], name: str, note: SequenceNote, image: bpy.types.Image, begin: int) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    made.append(material)
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image, texture.extension = image, "CLIP"
    _play(texture.image_user, note, begin)
    shine, clear, mix, output = (
        tree.nodes.new(f"ShaderNode{kind}") for kind in ("Emission", "BsdfTransparent", "MixShader", "OutputMaterial")
    )
    tree.links.new(texture.outputs["Color"], shine.inputs["Color"])
    tree.links.new(texture.outputs["Alpha"], mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(shine.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], output.inputs["Surface"])
    return material
