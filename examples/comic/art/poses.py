"""Poses: angles of the limbs (0 hangs down, 90 points ahead), hands and what they hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """One way to stand or sit; the near arm is the one on the viewer's side."""

    near: tuple[float, float] = (-6, 12)
    far: tuple[float, float] = (4, 16)
    near_hand: str = "relaxed"
    far_hand: str = "relaxed"
    legs: str = "stand"
    lean: float = 0.0
    tilt: float = 0.0
    item: str = ""
    far_item: str = ""


POSES: dict[str, Pose] = {
    "stand": Pose(),
    "talk": Pose(near=(-8, 14), far=(38, 105), far_hand="open"),
    "explain": Pose(near=(24, 92), far=(44, 84), near_hand="open", far_hand="open"),
    "think": Pose(near=(20, 158), far=(20, 84), near_hand="fist", tilt=5),
    "pocket": Pose(near=(-24, 40), far=(2, 14), near_hand="none", lean=-2),
    "clasp": Pose(near=(14, 88), far=(20, 96), near_hand="fist", far_hand="fist", tilt=4),
    "plead": Pose(near=(30, 112), far=(36, 120), near_hand="open", far_hand="open", lean=5),
    "point": Pose(far=(88, 94), far_hand="point", lean=3),
    "point_back": Pose(near=(-76, -84), near_hand="point", far=(24, 60), lean=6, tilt=-8),
    "menace": Pose(
        near=(12, 76), far=(58, 118), near_hand="fist", far_hand="fist", lean=9, legs="stride", far_item="crop"
    ),
    "looming": Pose(near=(-22, 22), far=(26, 30), near_hand="fist", far_hand="fist", legs="wide", item="crop"),
    "bend_poker": Pose(
        near=(34, 132), far=(58, 116), near_hand="fist", far_hand="fist", lean=7, legs="wide", item="poker"
    ),
    "recoil": Pose(near=(38, 124), far=(64, 128), near_hand="open", far_hand="open", lean=-12, legs="stride", tilt=-4),
    "stagger": Pose(near=(-42, -8), far=(84, 72), near_hand="open", far_hand="open", lean=12, legs="stride", tilt=-10),
    "embrace": Pose(near=(54, 82), far=(66, 84), near_hand="open", far_hand="open", lean=8),
    "sit": Pose(near=(16, 66), far=(24, 70), legs="sit"),
    "sit_talk": Pose(near=(14, 66), far=(42, 104), far_hand="open", legs="sit", lean=4),
    "sit_think": Pose(near=(28, 160), far=(24, 74), near_hand="fist", legs="sit", lean=6, tilt=6),
    "sit_clasp": Pose(near=(18, 74), far=(24, 80), near_hand="fist", far_hand="fist", legs="sit"),
    "sit_pipe": Pose(near=(30, 148), far=(22, 72), near_hand="fist", legs="sit", lean=-6, item="pipe"),
    "sit_dead": Pose(near=(10, 34), far=(30, 52), legs="sit", lean=-9, tilt=-26, item="lash"),
    "stoop": Pose(near=(38, 64), far=(66, 92), far_hand="fist", lean=26, legs="stride", tilt=-6, far_item="lens"),
    "lantern": Pose(near=(-6, 16), far=(52, 96), far_hand="fist", far_item="lantern", legs="stride"),
    "pistol": Pose(near=(8, 74), far=(26, 152), near_hand="none", far_hand="fist", far_item="pistol"),
    "strike": Pose(
        near=(212, 164), far=(52, 84), near_hand="fist", far_hand="fist", item="cane", legs="stride", lean=10, tilt=-10
    ),
    "candle": Pose(near=(-6, 20), far=(46, 112), far_hand="fist", far_item="candle"),
    "paper": Pose(near=(16, 92), far=(34, 100), near_hand="fist", far_hand="fist", item="paper", tilt=7),
    "reach": Pose(far=(72, 122), far_hand="fist", lean=4, tilt=-10),
    "hush": Pose(near=(30, 164), far=(6, 18), near_hand="point", lean=6),
    "drive": Pose(near=(34, 78), far=(46, 82), near_hand="fist", far_hand="fist", legs="sit", item="reins"),
    "drive_point": Pose(near=(34, 78), far=(92, 96), near_hand="fist", far_hand="point", legs="sit", item="reins"),
    "walk": Pose(near=(-22, 6), far=(26, 40), legs="stride", lean=3),
}
"""Every pose by name; a script that asks for another one is refused."""

BY_TONE: dict[str, str] = {
    "calm": "stand",
    "curious": "think",
    "fear": "clasp",
    "menace": "looming",
    "dread": "stand",
    "sorrow": "clasp",
    "resolve": "talk",
    "horror": "recoil",
    "relief": "talk",
}
"""The pose of somebody for whom the script names none."""
