"""Folders of classes of image files."""

import numpy as np
import pytest
from PIL import Image

from joulelab.errors import DatasetError
from joulelab.learning.images import ImageShape, load_images


def _save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 7, 6, 3))


@pytest.fixture
def birds(tmp_path):
    """Two classes, two training images and one test image each, 3x7x6."""
    for number, bird in enumerate(("robin", "wren")):
        _save(tmp_path / "birds/train" / bird / "a.png", PIXELS[3 * number])
        _save(tmp_path / "birds/train" / bird / "B.PNG", PIXELS[3 * number + 1])
        _save(tmp_path / "birds/test" / bird / "c.png", PIXELS[3 * number + 2])
    return tmp_path / "birds"


def _two_lines(folder, option=""):
    with pytest.raises(DatasetError) as caught:
        load_images(f"folder:{folder}{option}")
    message, hint = str(caught.value).split("\n")
    return message, hint


def test_classes_are_folders_in_alphabetical_order(birds):
    images = load_images("folder:birds", birds.parent)
    assert images.shape == ImageShape(3, 7, 6)
    assert images.classes == 2
    assert images.train.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(images.test.images, PIXELS[[2, 5]].transpose(0, 3, 1, 2))
    assert images.name == "folder:birds"


def test_what_is_left_out_is_counted_and_said(birds):
    whole = load_images(f"folder:{birds}")
    assert whole.notes == ()
    for name in ("notes.txt", "b.png.part", "photo"):
        (birds / "train/robin" / name).write_text("two robins")
    (birds / "train/robin/._a.png").write_bytes(b"resource fork")
    (birds / ".cache").mkdir()
    (birds / "train/.thumbnails").mkdir()
    (birds / "test/c.png").write_bytes(b"of no class")
    images = load_images(f"folder:{birds}")
    assert images.checksum() == whole.checksum()
    assert images.notes == (
        "train: left out: 2 hidden (.thumbnails ...), "
        "3 without an image file extension (robin/b.png.part ...)",
        "test: left out: 1 outside the class folders (c.png)",
    )


def test_images_in_folders_within_those_of_classes_belong_to_them_and_are_said(birds):
    _save(birds / "train/wren/2019/may/d.png", PIXELS[0])
    _save(birds / "train/wren/2020/d.png", PIXELS[1])
    elsewhere = birds.parent / "more wrens"
    _save(elsewhere / "e.png", PIXELS[2])
    (birds / "train/wren/linked").symlink_to(elsewhere)
    (birds / "train/wren/2020/back").symlink_to(birds / "train/wren")
    images = load_images(f"folder:{birds}")
    assert images.train.labels.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert np.array_equal(images.train.images[2], PIXELS[0].transpose(2, 0, 1))
    assert images.notes == (
        "train: 3 images in subfolders of class folders",
        "train: left out: 1 links to a parent folder (wren/2020/back)",
    )


def test_both_parts_may_lie_in_a_folder_data(birds):
    whole = load_images(f"folder:{birds}")
    birds.rename(birds.parent / "data")
    assert load_images(f"folder:{birds.parent}").checksum() == whole.checksum()


def test_grey_palette_and_transparent_images_are_understood(birds):
    grey = Image.fromarray(PIXELS[0, :, :, 0].astype(np.uint8))
    colour = Image.fromarray(PIXELS[1].astype(np.uint8))
    grey.save(birds / "train/robin/d.png")
    colour.convert("RGBA").save(birds / "train/robin/e.png")
    colour.quantize(8).save(birds / "train/robin/f.gif")
    images = load_images(f"folder:{birds}")
    assert images.train.images.shape == (7, 3, 7, 6)
    assert (images.train.images[2] == images.train.images[2, :1]).all()
    assert np.array_equal(images.train.images[3], PIXELS[1].transpose(2, 0, 1))


def test_grey_images_alone_have_one_channel(tmp_path):
    for part in ("train", "test"):
        _save(tmp_path / part / "a" / "1.png", PIXELS[0, :, :, 0])
    assert load_images(f"folder:{tmp_path}").shape == ImageShape(1, 7, 6)


def test_sixteen_bit_pixels_are_refused_and_not_clipped(birds):
    Image.fromarray(np.full((7, 6), 40_000, np.uint16)).save(birds / "test/wren/wide.png")
    message, _ = _two_lines(birds)
    assert f"{birds / 'test/wren/wide.png'} cannot be decoded: pixels of more than 8" in message


@pytest.mark.parametrize("part", ["validation", "val", "valid", "dev"])
def test_another_part_stands_in_for_test_and_is_said(birds, part):
    (birds / "test").rename(birds / part)
    images = load_images(f"folder:{birds}")
    assert len(images.test) == 2
    assert images.notes == (f"it has no test part: accuracy is computed on {part}",)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_above_pillows_limit_is_named(birds, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7 * 6)
    _save(birds / "test/wren/d.png", np.zeros((8, 6)))
    message, hint = _two_lines(birds)
    assert f"{birds / 'test/wren/d.png'} cannot be decoded: Image size (48 pixels)" in message
    assert "MAX_IMAGE_PIXELS" in hint
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "has 8x6 pixels" in _two_lines(birds)[0]


def test_a_damaged_image_is_named(birds):
    path = birds / "train/wren/a.png"
    path.write_bytes(path.read_bytes()[:-60])
    message, hint = _two_lines(birds)
    assert f"{path} cannot be decoded" in message
    assert "remove the image" in hint


def test_an_empty_file_is_named_even_if_it_is_the_first(birds):
    path = birds / "train/robin/B.PNG"
    path.write_bytes(b"")
    assert f"{path} cannot be decoded" in _two_lines(birds)[0]


def test_differing_sizes_name_the_file_and_how_to_resize(birds):
    _save(birds / "train/wren/z.png", PIXELS[0, :5, :3])
    message, hint = _two_lines(birds)
    assert f"{birds / 'train/wren/z.png'} has 5x3 pixels" in message
    assert "has 7x6" in message
    assert "?size=6" in hint
    resized = load_images(f"folder:{birds}?size=4")
    assert resized.train.images.shape == (5, 3, 4, 4)


def test_test_images_of_another_size_than_the_training_images_are_named(birds):
    for bird in ("robin", "wren"):
        _save(birds / "test" / bird / "c.png", PIXELS[0, :5, :3])
    message, _ = _two_lines(birds)
    assert f"{birds / 'test/robin/c.png'} has 5x3 pixels" in message


def test_large_images_are_decoded_by_threads_in_order(tmp_path):
    for number in range(150):
        for part in ("train", "test"):
            path = tmp_path / part / "a" / f"{number:03}.png"
            _save(path, np.full((64, 64), number))
    images = load_images(f"folder:{tmp_path}")
    assert images.train.images[:, 0, 0, 0].tolist() == list(range(150))


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_folder_without_a_part_says_the_layout(birds, missing):
    (birds / missing).rename(birds / "elsewhere")
    message, hint = _two_lines(birds)
    assert message == f"{birds} has no folder {missing}"
    assert hint == "the layout is train/<class>/*.png and test/<class>/*.png"


def test_images_outside_folders_of_classes_say_the_layout(tmp_path):
    for part in ("train", "test"):
        _save(tmp_path / part / "1.png", PIXELS[0])
    message, hint = _two_lines(tmp_path)
    assert "has no class folders" in message
    assert "train/<class>" in hint


def test_a_class_without_training_images_is_named(birds):
    (birds / "train/owl").mkdir()
    assert f"{birds / 'train/owl'} has no images" in _two_lines(birds)[0]


def test_a_class_of_test_images_alone_is_named(birds):
    _save(birds / "test/owl/1.png", PIXELS[0])
    message, hint = _two_lines(birds)
    assert f"{birds / 'test/owl'} is a class without training images" in message
    assert hint == "the classes are robin, wren"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    message, _ = _two_lines(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message
    assert "after its colon" in _two_lines("")[0]
