"""Gaussian sets: rasterizing them and meshes, posing them with the rig, pictures of them, and their file formats."""

from .camera import Camera, orbit_camera, photo_camera, portrait_camera
from .color_operator import ColorOperator
from .contact_sheet import contact_sheet
from .cpu_raster import View
from .cpu_threads import set_threads
from .glb import write_glb, write_lam
from .mesh_raster import interpolate, rasterize_mesh
from .ply import SplatCloud, read_ply, write_ply, write_spz
from .posed import Posable, joint_pose, pose_splats
from .rasterization import rasterization, warm_up
from .render import render, render_splats, turntable
from .video import write_video

__all__ = [
    "Camera",
    "ColorOperator",
    "Posable",
    "SplatCloud",
    "View",
    "contact_sheet",
    "interpolate",
    "joint_pose",
    "orbit_camera",
    "photo_camera",
    "portrait_camera",
    "pose_splats",
    "rasterization",
    "rasterize_mesh",
    "read_ply",
    "render",
    "render_splats",
    "set_threads",
    "turntable",
    "warm_up",
    "write_glb",
    "write_lam",
    "write_ply",
    "write_spz",
    "write_video",
]
