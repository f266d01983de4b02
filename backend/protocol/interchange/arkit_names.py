"""ARKit's 52 face shapes (ARFaceAnchor.BlendShapeLocation)."""

from __future__ import annotations

_SIDED = ("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint",
          "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp",
          "noseSneer")  # fmt: skip
_WHOLE = ("browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft",
          "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "tongueOut")  # fmt: skip

ARKIT_NAMES: tuple[str, ...] = tuple(sorted([*_WHOLE, *(f"{stem}{side}" for stem in _SIDED for side in ("Left", "Right"))]))
"""The 52 names."""
