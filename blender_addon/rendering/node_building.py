"""Build node groups in code that reads like the formulas that they compute. For geometry and shader nodes alike."""

from __future__ import annotations

from typing import Any

import bpy

Operand = Any
"""A socket to link from, or a number to set."""


class NodeBuilder:
    """Adds nodes to one tree, laid out in rows."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree
        self._count = 0

    def node(self, kind: str, **settings: object) -> bpy.types.Node:
        node = self.tree.nodes.new(kind)
        for name, value in settings.items():
            setattr(node, name, value)
        node.location = (self._count % 12 * 180, -(self._count // 12) * 220)
        self._count += 1
        return node

    def set(self, socket: bpy.types.NodeSocket, operand: Operand) -> None:
        """Link a socket to `socket`, or set its value."""
        if isinstance(operand, bpy.types.NodeSocket):
            self.tree.links.new(operand, socket)
        else:
            socket.default_value = operand

    def math(self, operation: str, *operands: Operand) -> bpy.types.NodeSocket:
        node = self.node("ShaderNodeMath", operation=operation)
        for operand, socket in zip(operands, node.inputs, strict=False):
            self.set(socket, operand)
        return node.outputs[0]

    def vector(self, operation: str, *operands: Operand) -> bpy.types.NodeSocket:
        """A vector operation; the factor of SCALE is the second operand."""
        node = self.node("ShaderNodeVectorMath", operation=operation)
        sockets = (node.inputs[0], node.inputs["Scale"]) if operation == "SCALE" else node.inputs
        for operand, socket in zip(operands, sockets, strict=False):
            self.set(socket, operand)
        return node.outputs["Value" if operation in ("LENGTH", "DOT_PRODUCT", "DISTANCE") else "Vector"]

    def combine(self, *components: Operand) -> bpy.types.NodeSocket:
        node = self.node("ShaderNodeCombineXYZ")
        for operand, socket in zip(components, node.inputs, strict=False):
            self.set(socket, operand)
        return node.outputs[0]

    def separate(self, vector: Operand) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket, bpy.types.NodeSocket]:
        node = self.node("ShaderNodeSeparateXYZ")
        self.set(node.inputs[0], vector)
        return node.outputs[0], node.outputs[1], node.outputs[2]


class GeometryBuilder(NodeBuilder):
    """What only geometry nodes have."""

    def attribute(self, name: str, data_type: str) -> bpy.types.NodeSocket:
        node = self.node("GeometryNodeInputNamedAttribute", data_type=data_type)
        node.inputs["Name"].default_value = name
        return enabled(node.outputs, "Attribute")

    def store(self, geometry: Operand, name: str, data_type: str, value: Operand) -> bpy.types.NodeSocket:
        """Write a point attribute."""
        node = self.node("GeometryNodeStoreNamedAttribute", data_type=data_type, domain="POINT")
        self.set(node.inputs["Geometry"], geometry)
        node.inputs["Name"].default_value = name
        self.set(enabled(node.inputs, "Value"), value)
        return node.outputs["Geometry"]

    def rotate(self, vector: Operand, rotation: Operand) -> bpy.types.NodeSocket:
        node = self.node("FunctionNodeRotateVector")
        self.set(node.inputs["Vector"], vector)
        self.set(node.inputs["Rotation"], rotation)
        return node.outputs[0]


def enabled(sockets: Any, name: str) -> bpy.types.NodeSocket:
    """The socket of that name that is in use: up to 5.1 a node holds one a data type and enables one of them."""
    return next(s for s in sockets if s.name == name and s.enabled)
