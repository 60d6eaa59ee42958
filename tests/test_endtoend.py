"""The end-to-end network against the plain one in tests/published."""

import pytest
import torch
from published.endtoend import EndToEnd as Published

from ssl_music.encoders import EndToEnd, parameter_count
from ssl_music.errors import UserError
from ssl_music.tagger import Tagger

NAMES = {"strided": "encoder.frames", "conv1": "encoder.conv_1", "conv2": "encoder.conv_2"} | {
    "dense1": "encoder.dense_layer",
    "dense2": "head.1",
}


@pytest.mark.parametrize(("window", "stride"), [(256, 256), (128, 128), (512, 256), (512, 512), (1024, 1024)])
def test_equals_the_plain_network(window: int, stride: int) -> None:
    torch.manual_seed(0)
    published = Published(window, stride).eval()
    encoder = EndToEnd(window_samples=window, stride_samples=stride)
    model = Tagger(encoder, [str(i) for i in range(50)], column="tag", multi_label=True).eval()
    state = {
        NAMES[key.split(".")[0]] + "." + key.split(".")[-1]: tensor for key, tensor in published.state_dict().items()
    }
    model.load_state_dict(state)
    assert parameter_count(model) == parameter_count(published) == 33_022 + 32 * (window - 256)
    wave = 0.1 * torch.randn(2, 1, 34950)
    torch.testing.assert_close(model(wave), published(wave), rtol=1e-5, atol=1e-6)


def test_takes_sixteen_frames_or_more() -> None:
    encoder = EndToEnd(window_samples=512, stride_samples=256).eval()
    assert encoder.minimum_samples == 15 * 256 + 512
    for samples in (encoder.minimum_samples, 12000, 100_001):
        assert encoder(torch.zeros(2, 1, samples)).shape == (2, 100)


@pytest.mark.parametrize("kind", ["min_max", "standard"])
def test_a_normalised_input_forgets_its_level(kind: str) -> None:
    torch.manual_seed(0)
    encoder = EndToEnd(normalise_input=kind).eval()
    wave = 0.1 * torch.randn(2, 1, 34950)
    torch.testing.assert_close(encoder(0.3 * wave - 0.2), encoder(wave), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(EndToEnd().eval()(0.3 * wave), EndToEnd().eval()(wave), atol=1e-3)
    assert encoder._normalised(torch.full((1, 1, 100), 0.5)).abs().max() == 0  # silence, or a constant


def test_dropout_acts_on_the_embedding_in_training_only() -> None:
    torch.manual_seed(0)
    encoder, wave = EndToEnd(dropout=0.5), 0.1 * torch.randn(2, 1, 34950)
    assert not torch.equal(encoder(wave), encoder(wave))
    assert torch.equal(encoder.eval()(wave), encoder(wave))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="unknown normalise_input 'minmax'; did you mean 'min_max'"):
        EndToEnd(normalise_input="minmax")
    with pytest.raises(UserError, match="want input_samples of at least 4096, 16 frames; came 3000"):
        EndToEnd(input_samples=3000)
    with pytest.raises(UserError, match="at least 1; came 0, 256, 32, 100"):
        EndToEnd(window_samples=0)
