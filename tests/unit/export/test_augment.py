import io

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from scipy.ndimage import gaussian_filter
from scipy.stats import binomtest, chisquare, kstest
from torch import Generator, Tensor

from export.training import augment_spectrum as spectra
from export.training.augment import (
    AUGMENTATIONS,
    Augmentation,
    BandAttenuate,
    BandNoise,
    BlurJpeg,
    MagnitudeMix,
    MagnitudeNoise,
    PhaseNoise,
    SpectralAugmentation,
    SpectralDropout,
    compose,
    parse_augmentation,
)
from export.training.augment_pixels import blur, jpeg
from harness.errors import SuiteError

SPECTRAL = [MagnitudeNoise, PhaseNoise, MagnitudeMix, BandAttenuate, BandNoise, SpectralDropout]

sides = st.integers(5, 18)
shares = st.floats(0, 1)
seeds = st.integers(0, 2**31)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth pictures in [0.3, 0.7] and a little noise, float64."""
    noise = np.random.default_rng(seed).normal(0, 1, (count, 3, height, width))
    smooth = gaussian_filter(noise, (0, 0, 1.5, 1.5), mode="wrap") + 0.1 * noise
    return torch.from_numpy(0.5 + 0.2 * smooth / np.abs(smooth).max())


def all_of(kind: type[SpectralAugmentation], images: Tensor, seed: int, **said: object) -> Tensor:
    """The changed spectra of all images."""
    made = kind.model_validate(said).spectrum(images, torch.arange(len(images)), seeded(seed))
    assert isinstance(made, Tensor)
    return made


def full(half: Tensor, width: int) -> Tensor:
    """The whole spectrum: what is missing are the conjugates of the negatives."""
    height = half.shape[-2]
    rows, columns = -torch.arange(height) % height, -torch.arange(half.shape[-1], width) % width
    return torch.cat([half, half[..., rows, :][..., columns].conj()], -1)


def ready(name: str, **said: object) -> Augmentation:
    given_ = {"p": 1.0, **({} if name == "blur_jpeg" else {"strength": 0.4}), **said}
    return AUGMENTATIONS[name].model_validate(given_)


# What every one of them keeps


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("size", [(16, 16), (15, 20), (17, 13)])
def test_a_batch_keeps_its_shape_type_and_range_and_follows_from_the_seed(name: str, size: tuple[int, int]) -> None:
    images = torch.rand(6, 3, *size, generator=seeded(1))
    before = images.clone()
    made = ready(name)(images, seeded(2))
    assert made.shape == images.shape
    assert made.dtype == torch.float32
    assert made.min() >= 0
    assert made.max() <= 1
    assert not torch.equal(made, images)
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    assert torch.equal(ready(name)(images, seeded(2)), made)
    assert not torch.equal(ready(name)(images, seeded(3)), made)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_chance_no_change(name: str) -> None:
    images = torch.rand(6, 3, 9, 8, generator=seeded(1))
    assert torch.equal(ready(name, p=0)(images, seeded(2)), images)


@pytest.mark.parametrize("kind", SPECTRAL)
def test_no_strength_or_no_alpha_no_change(kind: type[SpectralAugmentation]) -> None:
    images = torch.rand(6, 3, 9, 8, generator=seeded(1))
    assert torch.equal(kind(p=1, strength=0)(images, seeded(2)), images)
    assert torch.equal(kind(p=1, strength=0.7, alpha=(0, 0))(images, seeded(2)), images)
    double = images.double()
    assert all_of(kind, double, 2, strength=0.0).sub(spectra.to_spectrum(double)).abs().max() < 1e-12


@pytest.mark.parametrize("kind", SPECTRAL)
def test_half_alpha_is_half_way(kind: type[SpectralAugmentation]) -> None:
    images = pictures(4, 12, 15)
    made = {alpha: kind(p=1, strength=0.1, alpha=(alpha, alpha))(images, seeded(5)) for alpha in (0.5, 1.0)}
    assert made[1.0].min() > 0
    assert made[1.0].max() < 1  # nothing was clipped
    torch.testing.assert_close(made[0.5], (images + made[1.0]) / 2)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_image_is_changed_with_chance_p(name: str) -> None:
    images = torch.rand(2000, 3, 8, 8, generator=seeded(1))
    chance, said = (0.51, {"quality": (30, 90)}) if name == "blur_jpeg" else (0.3, {})
    made = ready(name, p=0.3, **said)(images, seeded(2))
    changed = int((made != images).flatten(1).any(1).sum())
    assert binomtest(changed, len(images), chance).pvalue > 0.001  # 0.51 = 1 - 0.7 ** 2: blur and JPEG apart


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - {"magnitude_mix"}))
def test_an_image_does_not_depend_on_its_neighbours(name: str) -> None:
    images, others = torch.rand(2, 8, 3, 10, 11, generator=seeded(1))
    mixed = torch.cat([images[:4], others[4:]])
    first, second = (ready(name, p=0.6)(batch, seeded(7)) for batch in (images, mixed))
    torch.testing.assert_close(first[:4], second[:4], rtol=0, atol=1e-6)
    assert not torch.allclose(first[4:], second[4:])


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - {"blur_jpeg", "band_noise"}))
def test_grey_stays_grey(name: str) -> None:
    images = torch.rand(4, 1, 12, 12, generator=seeded(1)).expand(4, 3, 12, 12)
    made = ready(name)(images, seeded(3))
    torch.testing.assert_close(made, made[:, :1].expand_as(made), rtol=0, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_gpu_makes_the_same_from_the_same_generator(name: str) -> None:
    images = torch.rand(6, 3, 33, 40, generator=seeded(1))
    wanted, made = ready(name)(images, seeded(2)), ready(name)(images.cuda(), seeded(2)).cpu()
    # JPEG may round a value to the next level, and a level changes its block
    assert ((wanted - made).abs() > 1e-4).float().mean() < (0.02 if name == "blur_jpeg" else 1e-9)
    own = Generator("cuda").manual_seed(3)
    assert ready(name)(images.cuda(), own).device.type == "cuda"


def test_parts_are_applied_in_order() -> None:
    images = torch.rand(4, 3, 8, 8, generator=seeded(1))
    parts = [ready("spectral_dropout"), ready("band_noise")]
    generator = seeded(4)
    wanted = parts[1](parts[0](images, generator), generator)
    assert torch.equal(compose(parts)(images, seeded(4)), wanted)
    assert torch.equal(compose([])(images, seeded(4)), images)


# Spectra


@settings(deadline=None)
@given(sides, sides, seeds)
def test_parseval(height: int, width: int, seed: int) -> None:
    images = torch.rand(2, 3, height, width, generator=seeded(seed), dtype=torch.float64)
    spectrum = spectra.to_spectrum(images)
    torch.testing.assert_close(spectra.energy(spectrum, width), images.square().sum((1, 2, 3)))
    torch.testing.assert_close(spectra.to_images(spectrum, width), images)


@settings(deadline=None)
@given(sides, sides)
def test_radii_are_distances(height: int, width: int) -> None:
    found = spectra.radii(torch.zeros(1, 3, height, width, dtype=torch.float64))
    assert found[0, 0] == 0
    assert found.max() <= 1
    row, column = height // 2, width // 2
    corner = np.hypot(row / height, column / width) / np.hypot(0.5, 0.5)
    assert found[row, column].item() == pytest.approx(corner)
    assert found[-1, 1].item() == pytest.approx(found[1, 1].item())


@pytest.mark.parametrize("kind", SPECTRAL)
@settings(max_examples=20, deadline=None)
@given(height=sides, width=sides, strength=shares, seed=seeds)
def test_changed_spectra_are_those_of_real_images(
    kind: type[SpectralAugmentation], height: int, width: int, strength: float, seed: int
) -> None:
    spectrum = all_of(kind, pictures(3, height, width, seed % 7), seed, strength=strength)
    inverse = torch.fft.ifft2(full(spectrum, width), norm="ortho")
    assert inverse.imag.abs().max() < 1e-9 * max(1, inverse.real.abs().max())
    torch.testing.assert_close(inverse.real, spectra.to_images(spectrum, width))


@settings(max_examples=30, deadline=None)
@given(sides, sides, shares, seeds)
def test_phase_noise_keeps_every_magnitude_and_own_negatives_whole(
    height: int, width: int, strength: float, seed: int
) -> None:
    images = pictures(2, height, width)
    before, after = spectra.to_spectrum(images), all_of(PhaseNoise, images, seed, strength=strength)
    torch.testing.assert_close(after.abs(), before.abs())
    rows = [0] if height % 2 else [0, height // 2]
    columns = [0] if width % 2 else [0, width // 2]
    torch.testing.assert_close(after[..., rows, :][..., columns], before[..., rows, :][..., columns])


def test_phase_noise_is_even_over_its_range() -> None:
    images = pictures(1, 128, 128)
    turned = all_of(PhaseNoise, images, 1, strength=0.5) / spectra.to_spectrum(images)
    angles = turned[0, 0, :, 1:64].angle().flatten().numpy()
    assert kstest(angles, "uniform", (-np.pi / 2, np.pi)).pvalue > 0.001


@settings(max_examples=30, deadline=None)
@given(sides, sides, shares, seeds)
def test_magnitude_noise_keeps_phases_and_the_mean(height: int, width: int, strength: float, seed: int) -> None:
    images = pictures(2, height, width)
    ratio = all_of(MagnitudeNoise, images, seed, strength=strength) / spectra.to_spectrum(images)
    assert ratio.imag.abs().max() < 1e-6
    assert ratio.real.min() > 0
    assert (ratio[..., 0, 0] - 1).abs().max() < 1e-12


def test_magnitude_noise_is_log_normal() -> None:
    images = pictures(1, 128, 128)
    ratio = all_of(MagnitudeNoise, images, 1, strength=0.3).abs() / spectra.to_spectrum(images).abs()
    assert kstest(ratio[0, 0, :, 1:64].log().flatten().numpy(), "norm", (0, 0.3)).pvalue > 0.001


@settings(max_examples=30, deadline=None)
@given(sides, sides, shares, seeds, st.tuples(shares, shares).map(sorted))
def test_band_attenuate_only_ever_takes_from_its_band(
    height: int, width: int, strength: float, seed: int, radius: list[float]
) -> None:
    images = pictures(3, height, width)
    before = spectra.to_spectrum(images)
    after = all_of(BandAttenuate, images, seed, strength=strength, radius=radius)
    assert (after.abs() <= before.abs() + 1e-12).all()
    assert (after.abs() >= (1 - strength) * before.abs() - 1e-12).all()
    found = spectra.radii(images)
    outside = (found <= radius[0]) | (found >= radius[1])
    assert torch.equal(after[..., outside], before[..., outside])


def test_a_band_is_whole_in_its_middle_and_soft_at_its_edges() -> None:
    radius = torch.linspace(0, 1, 1001, dtype=torch.float64)[None]
    window = spectra.band(radius, torch.tensor(0.2).double(), torch.tensor(0.6).double())[0]
    assert window[:201].max() == 0
    assert window[600:].max() < 1e-12
    assert window[301:500].min() == 1
    assert window.diff().abs().max() < 0.02
    assert window[250].item() == pytest.approx(0.5, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(sides, sides, st.floats(0.01, 1), seeds)
def test_band_noise_adds_the_stated_energy_inside_the_band(height: int, width: int, strength: float, seed: int) -> None:
    images, radius = pictures(3, height, width), (0.2, 0.9)
    before = spectra.to_spectrum(images)
    added = all_of(BandNoise, images, seed, strength=strength, radius=radius) - before
    found = spectra.radii(images)
    assert added[..., (found <= radius[0]) | (found >= radius[1])].abs().max() < 1e-12
    mean = images.mean((2, 3), keepdim=True)
    wanted = strength * (images - mean).square().sum((1, 2, 3))
    got = spectra.energy(added, width)
    assert ((got - wanted).abs() < 1e-9).logical_or(got < 1e-20).all()  # a thin band may hold no frequency
    assert (got > 0).any() or height * width < 100


@pytest.mark.parametrize("faint", [0.0, 1e-30, 1e-22, 1e-18])
def test_a_band_between_two_frequencies_adds_nothing_or_what_is_stated(faint: float) -> None:
    images = pictures(2, 16, 16).float()
    spectrum, noise = spectra.to_spectrum(images), faint * spectra.to_spectrum(images.flip(3))
    added = spectra.add_noise(spectrum, noise, 0.5, 16) - spectrum
    assert torch.isfinite(added.abs()).all()
    assert not added.any() or spectra.energy(added, 16).min() > 0


def test_a_flat_image_gets_no_noise() -> None:
    images = torch.full((2, 3, 16, 16), 0.4)
    torch.testing.assert_close(ready("band_noise")(images, seeded(0)), images)


@settings(max_examples=30, deadline=None)
@given(sides, sides, shares, seeds, st.tuples(shares, shares).map(sorted))
def test_dropout_only_ever_takes_and_keeps_the_mean(
    height: int, width: int, strength: float, seed: int, radius: list[float]
) -> None:
    images = pictures(2, height, width)
    before = spectra.to_spectrum(images)
    after = all_of(SpectralDropout, images, seed, strength=strength, radius=radius)
    found = spectra.radii(images)
    outside = (found < radius[0]) | (found > radius[1])
    outside[0, 0] = True
    assert torch.equal(after[..., outside], before[..., outside])
    assert ((after == 0) | (after == before)).all()
    assert (spectra.energy(after, width) <= spectra.energy(before, width)).all()


def test_dropout_takes_the_stated_share() -> None:
    after = all_of(SpectralDropout, pictures(1, 128, 128), 3, strength=0.3)[0, 0, :, 1:64]
    assert binomtest(int((after == 0).sum()), after.numel(), 0.3).pvalue > 0.001


@settings(max_examples=30, deadline=None)
@given(sides, sides, shares, seeds)
def test_magnitudes_of_an_image_mixed_with_itself_are_its_own(
    height: int, width: int, strength: float, seed: int
) -> None:
    image = pictures(1, height, width).float()
    for batch in (image, image.expand(4, -1, -1, -1)):
        made = MagnitudeMix(p=1, strength=strength)(batch, seeded(seed))
        torch.testing.assert_close(made, batch, rtol=0, atol=1e-6)


def test_magnitudes_are_mixed_with_another_image_of_the_batch() -> None:
    images = pictures(5, 16, 16)
    before = spectra.to_spectrum(images)
    after = all_of(MagnitudeMix, images, 3, strength=1.0, radius=(0.0, 0.5))
    inside = spectra.radii(images) <= 0.5
    assert (after - before)[..., ~inside].abs().max() < 1e-12
    torch.testing.assert_close(after[..., 1:8].angle(), before[..., 1:8].angle())
    references = []
    for own, mixed in zip(before.abs()[..., inside], after.abs()[..., inside], strict=True):
        # mixed = own + share * (other - own): the other whose residual vanishes for some share
        away, steps = before.abs()[..., inside] - own, mixed - own
        share = (away * steps).sum((1, 2)) / away.square().sum((1, 2)).clamp(min=1e-30)
        residual = (share[:, None, None] * away - steps).square().sum((1, 2))
        references.append(int(residual.argmin()))
        assert residual.min() < 1e-20
        assert 0 <= share[residual.argmin()] <= 1
    assert sorted(references) == list(range(5))
    assert all(index != reference for index, reference in enumerate(references))


# Pixels


@pytest.mark.parametrize("size", [(40, 56), (17, 9), (5, 30)])
def test_blur_is_scipys_each_image_by_its_own_sigma(size: tuple[int, int]) -> None:
    images, sigmas = torch.rand(6, 3, *size, generator=seeded(0)), [0.0, 0.1, 0.4, 1.0, 2.37, 3.0]
    made = blur(images, torch.tensor(sigmas))
    for image, got, sigma in zip(images.double().numpy(), made.numpy(), sigmas, strict=True):
        wanted = gaussian_filter(image, (0, sigma, sigma), mode="reflect", truncate=4.0)
        np.testing.assert_allclose(got, wanted, atol=2e-6)
    assert torch.equal(made[0], images[0])


def test_blur_is_opencvs() -> None:
    image = torch.rand(1, 3, 32, 41, generator=seeded(0))
    wanted = cv2.GaussianBlur(image[0].permute(1, 2, 0).numpy(), (17, 17), 2.0, borderType=cv2.BORDER_REFLECT)
    np.testing.assert_allclose(blur(image, torch.tensor([2.0]))[0].permute(1, 2, 0).numpy(), wanted, atol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 30), st.floats(0, 20))
def test_blur_keeps_flat_images_flat_at_any_size(side: int, sigma: float) -> None:
    flat = torch.full((1, 3, side, 4), 0.3)
    torch.testing.assert_close(blur(flat, torch.tensor([sigma])), flat)


def test_jpeg_is_pillows_or_opencvs() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (2, 33, 20, 3), dtype=np.uint8)
    levels[:, :, :10] = levels[:, :1, :1]
    images = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    made = jpeg(images, torch.tensor([40, 70]), torch.tensor([False, True]))
    buffer = io.BytesIO()
    PILImage.fromarray(levels[0]).save(buffer, "JPEG", quality=40)
    by_pillow = np.asarray(PILImage.open(buffer))
    _, encoded = cv2.imencode(".jpg", levels[1][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
    by_opencv = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    got = (made * 255).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(got, np.stack([by_pillow, by_opencv]), atol=1e-3)


def test_blur_jpeg_draws_over_its_ranges() -> None:
    drawn = BlurJpeg(p=0.4).draw(torch.zeros(20_000, 3, 1, 1), seeded(0))
    blurred, sigma, encoded, quality, by_opencv = (values.numpy() for values in drawn)
    for values, chance in ((blurred, 0.4), (encoded, 0.4), (blurred & encoded, 0.16), (by_opencv, 0.5)):
        assert binomtest(int(values.sum()), len(values), chance).pvalue > 0.001
    assert kstest(sigma, "uniform", (0, 3)).pvalue > 0.001
    assert set(quality) == set(range(30, 101))
    assert chisquare(np.bincount(quality)[30:]).pvalue > 0.001


# Words


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("blur_jpg", "augmentation: expected a known one, got 'blur_jpg'. Did you mean 'blur_jpeg'?"),
        (
            "phase_noise",
            "augmentation phase_noise: strength: expected a value, got nothing. Write phase_noise strength=VALUE.",
        ),
        ("phase_noise strength=2", "strength: expected less than or equal to 1, got '2'"),
        ("phase_noise strengt=1", "Did you mean 'strength'?"),
        ("phase_noise strength=1 alpha=0.8:0.2", "alpha: expected a range LOW:HIGH with the lower end first"),
        ("phase_noise strength=1 alpha=0.8", "alpha: expected a range LOW:HIGH, got '0.8'"),
        ("phase_noise strength=1 alpha=-1:1", "alpha.0: expected greater than or equal to 0"),
        ("blur_jpeg quality=0:50", "quality.0: expected greater than or equal to 1"),
        ("blur_jpeg sigma=0:nan", "sigma.1"),
        ("blur_jpeg p=nan", "p: expected"),
        ("blur_jpeg 0.5", "expected key=value words"),
        ({"blur_jpeg": {"p": "0.5"}}, "p: expected a valid number"),
        ({"band_noise": {"strength": 1, "radius": [0, 1, 2]}}, "radius: expected a range LOW:HIGH"),
        (None, "augmentation: expected a name or"),
    ],
)
def test_what_is_no_augmentation_says_why(value: object, message: str) -> None:
    with pytest.raises(SuiteError) as caught:
        parse_augmentation(value)
    assert message in str(caught.value)


ranges = st.tuples(shares, shares).map(sorted)
spectral = st.fixed_dictionaries({"strength": shares}, optional={"p": shares, "alpha": ranges})
banded = st.fixed_dictionaries({"strength": shares, "radius": ranges})
blurred = st.fixed_dictionaries({"p": shares, "sigma": ranges, "quality": st.just([1, 100])})


@settings(deadline=None)
@given(
    st.one_of(
        st.tuples(st.sampled_from(sorted(AUGMENTATIONS.keys() - {"blur_jpeg"})), spectral),
        st.tuples(st.sampled_from(["magnitude_mix", "band_attenuate", "band_noise", "spectral_dropout"]), banded),
        st.tuples(st.just("blur_jpeg"), blurred),
    )
)
def test_an_id_reads_back_as_itself(said: tuple[str, dict[str, object]]) -> None:
    made = parse_augmentation({said[0]: said[1]})
    assert parse_augmentation(made.id) == made
    assert parse_augmentation(made.id).id == made.id


def test_an_id_states_everything() -> None:
    assert parse_augmentation("blur_jpeg").id == "blur_jpeg p=0.5 sigma=0:3 quality=30:100"
    said = "magnitude_mix p=1 strength=0.5 alpha=0.2:0.8 radius=0:0.1"
    assert parse_augmentation(said).id == said


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_says_what_it_is(name: str) -> None:
    assert AUGMENTATIONS[name].__doc__
    assert AUGMENTATIONS[name].name == name
