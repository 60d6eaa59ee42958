"""Segments of a long clip against slices, and the length of one."""

import pytest
import torch
from training_toy import tiny_encoder

from ssl_music.encoders import ShortChunk
from ssl_music.errors import UserError
from ssl_music.methods.parts.segments import in_clips, in_segments, segment_samples


def test_segments_are_slices_and_a_view() -> None:
    wave = torch.randn(3, 1, 5 * 7, generator=torch.Generator().manual_seed(0))
    rows = in_segments(wave, 5)
    assert rows.shape == (15, 1, 7) and rows.data_ptr() == wave.data_ptr()
    for clip in range(3):
        for segment in range(5):
            assert torch.equal(rows[clip * 5 + segment, 0], wave[clip, 0, segment * 7 : (segment + 1) * 7])


def test_clips_are_the_way_back() -> None:
    wave = torch.randn(3, 1, 5 * 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(in_clips(in_segments(wave, 5)[:, 0], 5).flatten(1), wave[:, 0])
    latents = in_clips(torch.arange(6.0)[:, None].repeat(1, 4), 3)
    assert latents.shape == (2, 3, 4) and latents[1, 2].tolist() == [5.0] * 4


@pytest.mark.parametrize("shape, segments", [((2, 1, 7), 2), ((2, 7), 7), ((2, 2, 6), 3), ((2, 1, 6), 0)])
def test_what_does_not_divide_is_an_error(shape: tuple, segments: int) -> None:
    with pytest.raises(UserError, match=rf"S = {segments} equal segments are wanted; came \({shape[0]}"):
        in_segments(torch.zeros(shape), segments)


@pytest.mark.parametrize("shape, segments", [((7, 4), 2), ((6, 1, 4), 2), ((6, 4), 0)])
def test_rows_of_no_whole_clips_are_an_error(shape: tuple, segments: int) -> None:
    with pytest.raises(UserError, match=f"S = {segments} are wanted"):
        in_clips(torch.zeros(shape), segments)


def test_the_length_of_a_segment() -> None:
    encoder = tiny_encoder()
    assert segment_samples(encoder, None) == 243
    assert segment_samples(encoder, 243 / 8000) == 243
    assert segment_samples(encoder, 1.0) == 8000
    picture = ShortChunk(width=4, depth=3, bands=32, sample_rate=8000, input_samples=2048)
    assert segment_samples(picture, picture.minimum_samples / 8000) == picture.minimum_samples
    assert picture(torch.zeros(2, 1, picture.minimum_samples)).shape[0] == 2


@pytest.mark.parametrize("seconds", [0.03, 0.0, -1.0, float("nan"), float("inf")])
def test_a_segment_too_short_is_an_error(seconds: float) -> None:
    with pytest.raises(UserError, match=r"SampleCNN wants at least 243 \(0\.03 s\)"):
        segment_samples(tiny_encoder(), seconds)
