"""What the benchmark's pictures share: which part of a slice is shown, the grey window, panels, and PNG files that stay small."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from onenex.evaluate.metrics import Mask
from onenex.report.png import Bytes, png
from onenex.series import FloatImages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Region = tuple[slice, slice]
"""Rows and columns of a slice."""
LIMIT_BYTES = 400_000
"""Largest picture: they go into a repository."""
RESOLUTIONS_DPI = (130, 110, 95, 80, 70, 60, 50)
N_GREYS, N_HEAT = 128, 64
"""Levels of grey and of `HEAT` in a file. Noise hardly compresses; with a palette it takes a third of the room."""
HEAT = "inferno"
YELLOW, ORANGE = "#ffff00", "#ff7f0e"
"""Of the scale bar and of what f_φ made: the only colours besides greys and `HEAT`."""
CROP_SIDES = (32, 128)
"""Smallest and largest side of a crop, pixels."""
ENLARGED_SIDE = 150
"""Images up to this side, pixels, show every pixel as a square; larger ones may be drawn smaller than they are, their noise averaged."""
RESIDUAL_RANGE = (-4.0, 4.0)
"""In noise standard deviations."""
SCALE_BAR_MM = 20.0


class Picture(NamedTuple):
    """A file that was drawn, and what it shows."""

    path: Path
    caption: str


def window(reference: FloatImages, mask: Mask) -> tuple[float, float]:
    """Return black and white of a slice: the 1st and the 99.5th percentile of the reference's foreground; arguments (row, column)."""
    inside = reference[mask] if mask.any() else reference
    low, high = (float(value) for value in np.percentile(inside, (1, 99.5)))
    return low, max(high, low + 1e-6)


def body(mask: Mask, margin: int = 6) -> Region:
    """Return the smallest region that holds the foreground (row, column) and a margin, pixels; the whole slice when there is none."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    spans = []
    for axis in (1, 0):
        present = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(0, int(present[0]) - margin), min(mask.shape[1 - axis], int(present[-1]) + 1 + margin)))
    return spans[0], spans[1]


def detail(reference: FloatImages, mask: Mask) -> Region:
    """Return the square with the most edges inside the foreground, a third of the slice wide within `CROP_SIDES`.

    Only the reference decides, so nobody chooses where a result looks good. Edges count up to their 95th percentile, or the
    outline of the body would win everywhere.
    """
    side = min(int(np.clip(min(reference.shape) // 3, *CROP_SIDES)), *reference.shape)
    edges = ndimage.gaussian_gradient_magnitude(reference.astype(np.float64), 1.0)
    inner = ndimage.binary_erosion(mask, iterations=3)
    capped = np.minimum(edges, np.percentile(edges[inner], 95) if inner.any() else edges.max()) * inner
    share = ndimage.uniform_filter(mask.astype(np.float64), side)
    score = ndimage.uniform_filter(capped, side) * share**4
    half = side // 2
    score = score[half : reference.shape[0] - (side - half) + 1, half : reference.shape[1] - (side - half) + 1]
    top, left = (int(place) for place in np.unravel_index(np.argmax(score), score.shape))
    return slice(top, top + side), slice(left, left + side)


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, that packs images closely."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(compress=True, w_pad=0.01, h_pad=0.015, wspace=0.01, hspace=0.01)
    return Figure(figsize=(width, height), layout=engine)


def show(axes: Axes, image: FloatImages, limits: tuple[float, float], *, colours: str = "gray", below: str = "") -> AxesImage:
    """Draw an image (row, column) as stored, with square pixels and a line of text beneath."""
    whole_pixels = max(image.shape) <= ENLARGED_SIDE
    drawn = axes.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest" if whole_pixels else "auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(below, fontsize=7, labelpad=2)
    return drawn


def scale_bar(axes: Axes, region: Region, spacing_mm: float | None) -> None:
    """Draw a bar of `SCALE_BAR_MM` into a drawn image where the spacing is known and the bar fits."""
    n_rows, n_columns = (part.stop - part.start for part in region)
    if spacing_mm is None or SCALE_BAR_MM / spacing_mm > n_columns / 2:
        return
    left, row = 0.05 * n_columns, 0.95 * n_rows
    axes.plot([left, left + SCALE_BAR_MM / spacing_mm], [row, row], color=YELLOW, linewidth=1.5, solid_capstyle="butt")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG with a palette, at the highest of `RESOLUTIONS_DPI` at which it takes at most `LIMIT_BYTES`."""
    from matplotlib.image import imread

    path.parent.mkdir(parents=True, exist_ok=True)
    palette = _palette()
    packed = b""
    for dpi in RESOLUTIONS_DPI:
        stream = BytesIO()
        figure.savefig(stream, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.04)
        stream.seek(0)
        packed = png(_nearest(imread(stream, format="png")[..., :3], palette), palette)
        if len(packed) <= LIMIT_BYTES:
            break
    path.write_bytes(packed)
    return path


def _nearest(picture: NDArray[np.float32], palette: Bytes) -> Bytes:
    """Return the entry of the palette that is nearest to each pixel; the picture is (row, column, colour), 0…1."""
    pixels = np.rint(255 * picture).astype(np.int64)
    codes, places = np.unique((pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2], return_inverse=True)
    colours = np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], axis=1)
    _, entries = cKDTree(palette.astype(np.float64)).query(colours)
    return np.asarray(entries, np.uint8)[places].reshape(pixels.shape[:2])


def _palette() -> Bytes:
    """Return the colours of a file, (colour, 3): greys, `HEAT`, and the two single colours fading to white."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    greys = np.linspace(0, 1, N_GREYS)[:, None].repeat(3, axis=1)
    faded = [np.array(to_rgb(colour)) * share + 1 - share for colour in (YELLOW, ORANGE) for share in (1, 0.75, 0.5, 0.25)]
    colours = np.concatenate([greys, colormaps[HEAT](np.linspace(0, 1, N_HEAT))[:, :3], np.stack(faded)])
    return np.asarray(np.rint(255 * colours), np.uint8)
