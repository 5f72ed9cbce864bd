"""Laws of the pixel round trip: what nobody changed comes back as the integer it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onenex.dicom.pixels import PixelCoding, coding_of, embed, extract, to_images, to_stored
from onenex.errors import DecodeError, InconsistentSeries, OutOfDomain
from tests.dicom.make import classic_dataset, phantom

SLOPES = st.one_of(
    st.sampled_from([1.0, -1.0, 1e-6, -1e-6, 0.85665445665445, 1e6, 3e20, 1e-20]),
    st.floats(1e-8, 1e8).map(lambda value: float(f"{value:.8g}")),
)
INTERCEPTS = st.sampled_from([0.0, -1024.0, 0.5, 1e6, -3e-5, 1e30])


@st.composite
def codings(draw: st.DrawFn) -> PixelCoding:
    allocated = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(max(2, allocated - 8), allocated))
    signed = draw(st.booleans())
    low = -(1 << (stored - 1)) if signed else 0
    high = low + (1 << stored) - 1
    padding = draw(st.none() | st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted).map(tuple))
    return PixelCoding(
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=draw(st.integers(stored - 1, allocated - 1)),
        signed=signed,
        slope=draw(SLOPES),
        intercept=draw(INTERCEPTS),
        padding=padding,
    )


SEEDS = st.integers(0, 2**32 - 1)


def random_pixels(coding: PixelCoding, seed: int, limits: tuple[int, int] | None = None) -> np.ndarray:
    """Integers between the limits, both ends among them, of an odd shape."""
    low, high = limits or coding.limits
    rng = np.random.default_rng(seed)
    pixels = rng.integers(low, high, (5, 7), np.int64, endpoint=True)
    if coding.padding is not None:
        pixels[0, :3] = coding.padding[0], coding.padding[1], sum(coding.padding) // 2
    pixels[1, :2] = low, high
    return pixels.astype(coding.dtype)


@settings(deadline=None, max_examples=200)
@given(codings(), SEEDS)
def test_unchanged_images_give_the_stored_integers_back(coding: PixelCoding, seed: int) -> None:
    stored = random_pixels(coding, seed)
    back = to_stored(to_images(stored, coding), stored, coding)
    assert back.dtype == stored.dtype
    np.testing.assert_array_equal(back, stored)


@settings(deadline=None, max_examples=200)
@given(codings(), SEEDS)
def test_words_survive_extract_and_embed(coding: PixelCoding, seed: int) -> None:
    width = np.iinfo(coding.dtype)
    words = random_pixels(coding, seed, (int(width.min), int(width.max)))
    stored = extract(words, coding)
    assert stored.min() >= coding.limits[0]
    assert stored.max() <= coding.limits[1]
    np.testing.assert_array_equal(embed(stored, words, coding), words)


@settings(deadline=None, max_examples=100)
@given(codings(), SEEDS)
def test_changed_pixels_are_rounded_clipped_and_never_become_padding(coding: PixelCoding, seed: int) -> None:
    stored = random_pixels(coding, seed)
    images = to_images(stored, coding)
    noise = np.random.default_rng(seed).standard_normal(images.shape) * abs(coding.slope) * 2.0 ** (seed % (coding.bits_stored + 2))
    changed = (images + noise).astype(np.float32)
    result = to_stored(changed, stored, coding).astype(np.int64)
    low, high = coding.limits
    assert result.min() >= low
    assert result.max() <= high
    if coding.padding is not None and not (coding.padding[0] <= low and coding.padding[1] >= high):
        first, last = coding.padding
        was_padding = (stored >= first) & (stored <= last)
        is_padding = (result >= first) & (result <= last)
        np.testing.assert_array_equal(is_padding, was_padding)


def test_changed_pixels_are_rounded_to_the_nearest_stored_value() -> None:
    coding = PixelCoding(bits_allocated=16, bits_stored=12, high_bit=11, signed=False, slope=0.5, intercept=-10.0)
    original = np.array([[100, 200, 300]], np.uint16)
    images = to_images(original, coding)
    np.testing.assert_array_equal(images, np.float32([[40, 90, 140]]))
    images += np.float32([[0.2, 0.3, 1e9]])
    np.testing.assert_array_equal(to_stored(images, original, coding), [[100, 201, 4095]])


def test_32_bit_neighbours_that_float32_cannot_tell_apart_stay_themselves() -> None:
    coding = PixelCoding(bits_allocated=32, bits_stored=32, high_bit=31, signed=False)
    original = np.array([[2**31 + 1, 2**31 + 2, 2**32 - 1, 7]], np.uint32)
    images = to_images(original, coding)
    assert images[0, 0] == images[0, 1]
    images[0, 3] = 9
    np.testing.assert_array_equal(to_stored(images, original, coding), [[2**31 + 1, 2**31 + 2, 2**32 - 1, 9]])


def test_padding_takes_the_lowest_value_and_stays_untouched() -> None:
    coding = PixelCoding(bits_allocated=16, bits_stored=16, high_bit=15, signed=True, slope=2.0, intercept=1.0, padding=(-32768, -32000))
    stored = np.array([[-32768, -32100, 5, 9]], np.int16)
    images = to_images(stored, coding)
    np.testing.assert_array_equal(images, np.float32([[11, 11, 11, 19]]))
    np.testing.assert_array_equal(to_stored(images + 4, stored, coding), [[-32768, -32100, 7, 11]])
    all_padding = np.full((2, 2), -32768, np.int16)
    assert not to_images(all_padding, coding).any()


def test_a_pixel_denoised_to_the_padding_value_steps_aside() -> None:
    coding = PixelCoding(bits_allocated=16, bits_stored=12, high_bit=11, signed=False, padding=(0, 0))
    stored = np.array([[0, 3, 3]], np.uint16)
    np.testing.assert_array_equal(to_stored(np.float32([[8, 0.2, 3]]), stored, coding), [[0, 1, 3]])


@pytest.mark.parametrize(("signed", "value", "expected"), [(True, 63536, -2000), (True, -2000, -2000), (False, 63536, 63536), (False, -2000, 63536)])
def test_padding_value_is_read_with_the_sign_of_the_pixels(signed: bool, value: int, expected: int) -> None:
    dataset = classic_dataset(np.zeros((16, 16), np.int16 if signed else np.uint16), 0, {"BitsStored": 16, "HighBit": 15})
    dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    assert coding_of(dataset).padding == (expected, expected)


def test_bits_above_high_bit_are_dropped_on_reading_and_kept_on_writing() -> None:
    coding = PixelCoding(bits_allocated=16, bits_stored=12, high_bit=11, signed=False)
    words = np.array([[0x8123, 0x0FFF]], np.uint16)
    np.testing.assert_array_equal(extract(words, coding), [[0x123, 0xFFF]])
    np.testing.assert_array_equal(embed(np.array([[0x456, 1]], np.uint16), words, coding), [[0x8456, 1]])


def test_sign_extension_follows_the_new_value() -> None:
    coding = PixelCoding(bits_allocated=16, bits_stored=12, high_bit=11, signed=True)
    words = np.array([[-5, 7]], np.int16)
    np.testing.assert_array_equal(embed(np.array([[3, -2]], np.int16), words, coding), [[3, -2]])
    bare = np.array([[0x0FFB, 7]], np.int16)  # -5 in twelve bits, upper bits zero
    np.testing.assert_array_equal(extract(bare, coding), [[-5, 7]])
    np.testing.assert_array_equal(embed(np.array([[-5, -2]], np.int16), bare, coding), [[0x0FFB, 0x0FFE]])


def test_classic_rescale_is_read_from_the_header() -> None:
    dataset = classic_dataset(phantom(1, 16, 16)[0], 0, {"RescaleSlope": "2.5", "RescaleIntercept": "-3"})
    coding = coding_of(dataset)
    assert (coding.slope, coding.intercept, coding.bits_stored, coding.signed) == (2.5, -3.0, 12, False)


@pytest.mark.parametrize(
    "attrs", [{"RescaleSlope": 0}, {"BitsStored": 20}, {"HighBit": 3}, {"BitsAllocated": 24}, {"BitsAllocated": None, "BitsStored": None}]
)
def test_contradicting_pixel_attributes_are_refused(attrs: dict[str, object]) -> None:
    dataset = classic_dataset(phantom(1, 16, 16)[0], 0, attrs)
    with pytest.raises(InconsistentSeries, match="send the series again"):
        coding_of(dataset)


def test_values_beyond_float32_are_refused() -> None:
    coding = PixelCoding(bits_allocated=16, bits_stored=16, high_bit=15, signed=False, slope=1e36)
    with pytest.raises(DecodeError, match="check the rescale attributes"):
        to_images(np.array([[1, 4000]], np.uint16), coding)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_images_that_integers_cannot_express_are_refused(bad: float) -> None:
    coding = PixelCoding(bits_allocated=16, bits_stored=16, high_bit=15, signed=False)
    stored = np.ones((2, 2), np.uint16)
    images = to_images(stored, coding)
    images[1, 1] = bad
    with pytest.raises(OutOfDomain, match="NaN or infinite"):
        to_stored(images, stored, coding)
    with pytest.raises(OutOfDomain, match="shape"):
        to_stored(images[:1], stored, coding)
