"""SpecAugment: where its masks lie, how wide they are, what they hold, and that torch's seed decides them."""

import pytest
import torch

from ssl_music.encoders.specaugment import SpecAugment
from ssl_music.errors import UserError


def image(rows: int = 400) -> torch.Tensor:
    return torch.randn(rows, 1, 40, 100, generator=torch.Generator().manual_seed(0))


def test_one_time_mask_is_one_run_of_every_width_up_to_the_largest() -> None:
    torch.manual_seed(0)
    before = image()
    after = SpecAugment(time_masks=1, time_frames=8, time_share=1.0, frequency_masks=0)(before)
    changed = (after != before).all(2)[:, 0]  # (B, F)
    assert torch.equal((after != before).any(2)[:, 0], changed)  # all bands of a frame, or none
    widths = changed.sum(1)
    assert set(widths.tolist()) == set(range(9))
    assert float(widths.float().mean()) == pytest.approx(4, abs=0.5)
    edges = (changed[:, 1:] != changed[:, :-1]).sum(1) + changed[:, 0].int() + changed[:, -1].int()
    assert int(edges.max()) == 2  # one run
    assert changed.any(0).all()  # anywhere, to both ends


def test_a_share_bounds_time_masks_and_frequency_masks_hold_the_mean() -> None:
    torch.manual_seed(0)
    before = image()
    after = SpecAugment(time_masks=1, time_frames=70, time_share=0.05, frequency_masks=0)(before)
    assert int((after != before).any(2).sum(2).max()) == 5
    after = SpecAugment(time_masks=0, frequency_masks=2, frequency_bands=6)(before)
    changed = (after != before).any(3)[:, 0]  # (B, M)
    assert 6 < int(changed.sum(1).max()) <= 12
    row = int(changed.any(1).nonzero()[0])
    assert (after[row, 0][changed[row]] == before[row].mean()).all()
    assert torch.equal(after[row, 0][~changed[row]], before[row, 0][~changed[row]])


def test_the_global_seed_decides_and_evaluation_changes_nothing() -> None:
    masks = SpecAugment()
    outs = []
    for _ in range(2):
        torch.manual_seed(5)
        outs.append(masks(image(4)))
    assert torch.equal(*outs)
    assert not torch.equal(masks(image(4)), outs[0])
    state = torch.get_rng_state()
    assert torch.equal(masks.eval()(image(4)), image(4))
    assert torch.equal(torch.get_rng_state(), state)


def test_masks_wider_than_the_image_are_cut_and_bad_numbers_named() -> None:
    torch.manual_seed(0)
    assert SpecAugment(frequency_bands=500, time_frames=500, time_share=1)(image(50)).isfinite().all()
    with pytest.raises(UserError, match=r"time_share from 0 to 1; came 2, 70, 2, 15 and 1\.5"):
        SpecAugment(time_share=1.5)
