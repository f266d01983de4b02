"""Mouth shapes, emotions and blinks as weights of ARKit's shapes. They are set on a rig by name, so they fit any rig that has these.

Visemes: the fifteen of the MPEG-4 set as Oculus Lipsync names them, and Rhubarb's nine (Hanna-Barbera's A to H, X).
"""

from __future__ import annotations

from typing import NamedTuple

Weights = dict[str, float]


class Preset(NamedTuple):
    """A face by ARKit's names; `region` are the prefixes of the shapes that it owns, which it sets to 0 where it has none."""

    label: str
    weights: Weights
    region: tuple[str, ...]


def sided(**weights: float) -> Weights:
    """Weights with both sides of what ends in `_`: `mouthSmile_=1` -> mouthSmileLeft and mouthSmileRight."""
    spread: Weights = {}
    for name, value in weights.items():
        names = [name[:-1] + side for side in ("Left", "Right")] if name.endswith("_") else [name]
        spread |= dict.fromkeys(names, value)
    return spread


MOUTH = ("jaw", "mouth", "tongue", "cheekPuff")
EYES = ("eyeBlink", "eyeSquint", "eyeWide")
FACE = ("brow", "cheek", "eyeBlink", "eyeSquint", "eyeWide", "jaw", "mouth", "nose", "tongue")

RHUBARB: dict[str, Weights] = {
    "A": sided(mouthPress_=0.35, mouthRollLower=0.3, mouthRollUpper=0.2, mouthClose=0.02),
    "B": sided(jawOpen=0.08, mouthStretch_=0.25, mouthLowerDown_=0.35, mouthUpperUp_=0.2, mouthSmile_=0.1),
    "C": sided(jawOpen=0.35, mouthLowerDown_=0.3, mouthUpperUp_=0.2, mouthStretch_=0.15),
    "D": sided(jawOpen=0.65, mouthLowerDown_=0.35, mouthUpperUp_=0.25),
    "E": sided(jawOpen=0.3, mouthFunnel=0.5, mouthLowerDown_=0.15),
    "F": sided(jawOpen=0.12, mouthPucker=0.75, mouthFunnel=0.3),
    "G": sided(jawOpen=0.08, mouthRollLower=0.9, mouthUpperUp_=0.55, mouthShrugLower=0.15),
    "H": sided(jawOpen=0.3, tongueOut=0.12, mouthLowerDown_=0.25, mouthUpperUp_=0.15),
    "X": {},
}
"""Cue -> weights: closed (P, B, M); clenched (K, S, T, EE); open (EH); wide (AA); rounded (AO); puckered (OO); F and V; L; rest."""

VISEMES: dict[str, Preset] = {
    "sil": Preset("Rest", {}, MOUTH),
    "PP": Preset("P B M", RHUBARB["A"], MOUTH),
    "FF": Preset("F V", RHUBARB["G"], MOUTH),
    "TH": Preset("TH", sided(jawOpen=0.18, tongueOut=0.3, mouthLowerDown_=0.25, mouthUpperUp_=0.15), MOUTH),
    "DD": Preset("T D", sided(jawOpen=0.14, mouthLowerDown_=0.3, mouthUpperUp_=0.2, mouthStretch_=0.1), MOUTH),
    "kk": Preset("K G", sided(jawOpen=0.22, mouthLowerDown_=0.2, mouthUpperUp_=0.15, mouthStretch_=0.15), MOUTH),
    "CH": Preset("CH SH", sided(jawOpen=0.1, mouthFunnel=0.6, mouthLowerDown_=0.25, mouthUpperUp_=0.2), MOUTH),
    "SS": Preset("S Z", RHUBARB["B"], MOUTH),
    "nn": Preset("N L", RHUBARB["H"], MOUTH),
    "RR": Preset("R", sided(jawOpen=0.15, mouthFunnel=0.4, mouthPucker=0.3), MOUTH),
    "aa": Preset("AA", RHUBARB["D"], MOUTH),
    "E": Preset("EH", RHUBARB["C"], MOUTH),
    "ih": Preset("EE", sided(jawOpen=0.18, mouthStretch_=0.35, mouthSmile_=0.25, mouthLowerDown_=0.3, mouthUpperUp_=0.15), MOUTH),
    "oh": Preset("OH", RHUBARB["E"], MOUTH),
    "ou": Preset("OO", RHUBARB["F"], MOUTH),
}

EMOTIONS: dict[str, Preset] = {
    "joy": Preset(
        "Joy",
        sided(mouthSmile_=0.85, cheekSquint_=0.75, eyeSquint_=0.45, mouthDimple_=0.3, mouthUpperUp_=0.3, browOuterUp_=0.15, jawOpen=0.08),
        FACE,
    ),
    "sadness": Preset(
        "Sadness",
        sided(browInnerUp=1.0, browDown_=0.25, mouthFrown_=1.0, mouthShrugLower=0.6, eyeSquint_=0.2, eyeBlink_=0.3, mouthPress_=0.15),
        FACE,
    ),
    "anger": Preset(
        "Anger",
        sided(browDown_=1.0, browInnerUp=-0.6, browOuterUp_=0.3, eyeSquint_=0.45, eyeWide_=0.25, noseSneer_=0.9, cheekSquint_=0.35,
              mouthPress_=0.8, mouthFrown_=1.0, mouthRollUpper=0.5, mouthRollLower=0.4, mouthShrugLower=0.4, jawForward=0.4),
        FACE,
    ),
    "fear": Preset(
        "Fear",
        sided(browInnerUp=1.0, browOuterUp_=0.55, browDown_=0.25, eyeWide_=1.0, mouthStretch_=0.7, mouthFrown_=0.9, mouthLowerDown_=0.2,
              jawOpen=0.22),
        FACE,
    ),
    "disgust": Preset(
        "Disgust",
        sided(noseSneer_=1.0, browDown_=0.7, cheekSquint_=0.8, mouthUpperUp_=0.2, mouthFrown_=0.8, mouthShrugLower=0.9,
              mouthShrugUpper=0.6, eyeSquint_=0.55),
        FACE,
    ),
    "surprise": Preset(
        "Surprise",
        sided(browInnerUp=1.0, browOuterUp_=1.0, eyeWide_=1.0, jawOpen=0.7, mouthFunnel=0.35, mouthFrown_=0.35),
        FACE,
    ),
}  # fmt: skip
"""The six basic emotions (Ekman 1992), from the action units of Ekman and Friesen's EMFACS."""

LIDS: dict[str, Preset] = {
    "blink": Preset("Blink", sided(eyeBlink_=1.0), EYES),
    "wink_left": Preset("Wink Left", {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.4}, EYES),
    "wink_right": Preset("Wink Right", {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.4}, EYES),
    "open": Preset("Open", {}, EYES),
}

PRESETS: dict[str, Preset] = {
    **{f"viseme_{key}": preset for key, preset in VISEMES.items()},
    **{f"emotion_{key}": preset for key, preset in EMOTIONS.items()},
    **{f"lids_{key}": preset for key, preset in LIDS.items()},
}
