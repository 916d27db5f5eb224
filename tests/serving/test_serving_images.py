"""Prepared images are those of torchvision, to the last bit."""

from io import BytesIO

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

from joulelab.errors import UsageError
from joulelab.serving.images import UnreadableImageError, prepare, prepared_bytes
from joulelab.serving.tasks import ImageSource

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def encoded(image, form="png"):
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


def random_image(height, width, mode="RGB"):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, *channels), np.uint8)
    return Image.fromarray(pixels)


def by_torchvision(data, resize, crop):
    steps = Compose([Resize(resize), CenterCrop(crop), ToTensor(), Normalize(MEAN, STD)])
    with Image.open(BytesIO(data)) as image:
        return steps(image.convert("RGB")).numpy()


IMAGES = {
    "photograph": encoded(Image.fromarray(load_sample_images().images[0]), "jpeg"),
    "upright": encoded(random_image(301, 200)),
    "lying": encoded(random_image(97, 210)),
    "square of that size": encoded(random_image(256, 256)),
    "enlarged": encoded(random_image(31, 40)),
    "grey": encoded(random_image(280, 300, "L")),
    "transparent": encoded(random_image(280, 300, "RGBA")),
    "palette": encoded(random_image(280, 301).convert("P")),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (255, 224), (64, 63)])
def test_an_image_is_prepared_as_torchvision_does(name, resize, crop):
    torch.set_num_threads(1)
    out = np.empty((3, crop, crop), np.float32)
    prepare(IMAGES[name], resize, crop, out)
    assert_array_equal(out, by_torchvision(IMAGES[name], resize, crop))
    assert out.nbytes == prepared_bytes(crop)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "format"),
        (IMAGES["photograph"][:5000], "truncated"),
        (encoded(Image.fromarray(np.full((40, 40), 700, np.uint16))), "more than 8 bits"),
    ],
)
def test_what_is_no_image_is_said(data, words):
    with pytest.raises(UnreadableImageError, match=words):
        prepare(data, 32, 24, np.empty((3, 24, 24), np.float32))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("height", "width", "limit", "words"),
    [
        (40, 33, 40 * 33 - 1, r"\(1320 pixels\) exceeds limit of 1319"),  # Pillow warns
        (40, 33, 40 * 33 // 2 - 1, r"\(1320 pixels\) exceeds limit"),  # Pillow refuses
        (1, 1300, 1400, r"\(1331200 pixels\) exceeds limit of 1400"),  # 32 x 41,600 when resized
    ],
)
def test_an_image_above_pillows_limit_is_refused(monkeypatch, height, width, limit, words):
    data, out = encoded(random_image(height, width)), np.empty((3, 24, 24), np.float32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableImageError, match=words):
        prepare(data, 32, 24, out)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    prepare(data, 32, 24, out)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": ()}, "no images"),
        ({"resize": 20}, "cannot be cropped to 24"),
        ({"crop": 0}, "cannot be cropped to 0"),
        ({"prepare": "nowhere"}, "'nowhere'"),
    ],
)
def test_impossible_images_are_refused(changes, words):
    given = {"files": ("a.png",), "resize": 32, "crop": 24, **changes}
    with pytest.raises(UsageError, match=words):
        ImageSource(**given).check()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.png cannot be read"):
        ImageSource((str(tmp_path / "absent.png"),)).largest_file_bytes()
