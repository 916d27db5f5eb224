"""Parquet files in Hugging Face's layout, and CIFAR-10 in it."""

import io
import json
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from joulelab.errors import DatasetError, UsageError
from joulelab.learning.images import ImageShape, load_images


def _encode(pixels, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, file_format)
    return buffer.getvalue()


def _named(*names):
    """Metadata as Hugging Face writes it, with the names of the classes."""
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _write(path, images, labels, image="img", label="label", metadata=None):
    """A Parquet file of encoded images."""
    table = pa.table({image: [{"bytes": b, "path": None} for b in images], label: labels})
    if metadata:
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3))


@pytest.fixture
def folder(tmp_path):
    """Eight training images in two files and four test images, 3x5x4, lossless."""
    encoded = [_encode(pixels) for pixels in PIXELS]
    _write(tmp_path / "birds" / "train-00000-of-00002.parquet", encoded[:5], [0, 1, 2, 0, 1])
    _write(tmp_path / "birds" / "train-00001-of-00002.parquet", encoded[5:8], [2, 0, 1])
    _write(tmp_path / "birds" / "test-00000-of-00001.parquet", encoded[8:], [0, 1, 2, 2])
    return tmp_path


TRAIN = "birds/train-00000-of-00002.parquet"
TEST = "birds/test-00000-of-00001.parquet"


def _two_lines(folder, name="hf-parquet:birds"):
    with pytest.raises(DatasetError) as caught:
        load_images(name, folder)
    message, hint = str(caught.value).split("\n")
    return message, hint


def test_all_files_of_a_part_are_read_in_order(folder):
    images = load_images("hf-parquet:birds", folder)
    assert images.shape == ImageShape(3, 5, 4)
    assert images.classes == 3
    assert np.array_equal(images.train.images, PIXELS[:8].transpose(0, 3, 1, 2))
    assert np.array_equal(images.test.images, PIXELS[8:].transpose(0, 3, 1, 2))
    assert images.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_an_absolute_folder_needs_no_data_folder(folder):
    assert len(load_images(f"hf-parquet:{folder / 'birds'}").train) == 8


@pytest.mark.parametrize("part", ["validation", "val", "valid", "dev"])
def test_another_part_stands_in_for_test_and_is_said(folder, part):
    assert load_images("hf-parquet:birds", folder).notes == ()
    (folder / TEST).rename(folder / "birds" / f"{part}-00000-of-00001.parquet")
    images = load_images("hf-parquet:birds", folder)
    assert len(images.test) == 4
    assert images.notes == (f"it has no test part: accuracy is computed on {part}",)


@pytest.mark.parametrize(
    "layout",
    [
        "data/{part}-00000-of-00001-3c4f1d2e3fbc2a7a.parquet",
        "data/{part}-00000-of-00001.parquet",
        "{part}/0000.parquet",
        "data/{part}/0000.parquet",
        "default/{part}/0000.parquet",
        "plain_text/partial-{part}/0000.parquet",
        "{part}/{part}.parquet",
        "{part}/deeper/0.parquet",
        "birds_{part}.parquet",
    ],
)
def test_the_layouts_of_the_hub_are_found(tmp_path, layout):
    for part, rows in (("train", 3), ("test", 2), ("validation", 1)):
        encoded = [_encode(pixels) for pixels in PIXELS[:rows]]
        _write(tmp_path / layout.format(part=part), encoded, list(range(rows)))
    images = load_images(f"hf-parquet:{tmp_path}")
    assert (len(images.train), len(images.test)) == (3, 2)
    left_out = layout.format(part="validation")
    assert images.notes == (f"1 Parquet file outside the used parts left out: {left_out}",)


def test_several_configurations_are_listed_and_one_can_be_named(tmp_path):
    for name in ("coarse", "fine"):
        for part in ("train", "test"):
            _write(tmp_path / name / part / "0000.parquet", [_encode(PIXELS[0])], [0])
    message, hint = _two_lines(tmp_path, f"hf-parquet:{tmp_path}")
    assert message == f"{tmp_path} has training files of several configurations: coarse, fine"
    assert len(load_images(hint.rpartition(": ")[2]).train) == 1


def test_a_part_of_which_a_file_is_missing_is_refused(folder):
    missing = folder / "birds/train-00001-of-00002.parquet"
    missing.unlink()
    message, hint = _two_lines(folder)
    assert message == f"{missing} is missing; 1 of 2 files are there"
    assert "download" in hint
    (folder / TRAIN).rename(folder / "birds/train-00000-of-00002-3c4f1d2e3fbc2a7a.parquet")
    assert _two_lines(folder)[0] == message


def test_a_part_that_lies_in_two_places_is_refused(folder):
    _write(folder / "birds/train/0000.parquet", [_encode(PIXELS[0])], [0])
    message, hint = _two_lines(folder)
    assert message == (
        f"{folder / 'birds'} has the same part twice: "
        "train/0000.parquet, train-00000-of-00002.parquet"
    )
    assert hint == "keep one of them"


def test_two_editions_of_a_part_are_refused(folder):
    (folder / TRAIN).with_name("train-00000-of-00001.parquet").write_bytes(b"")
    message, _ = _two_lines(folder)
    assert message.startswith(f"{folder / 'birds'} has files of two versions: train-*-of-0000")


def test_labels_are_brought_into_one_order_by_the_names_of_the_classes(folder):
    encoded = [_encode(pixels) for pixels in PIXELS]
    first, second = TRAIN, TRAIN.replace("00000-of", "00001-of")
    _write(folder / first, encoded[:3], [0, 1, 2], metadata=_named("owl", "robin", "wren"))
    _write(folder / second, encoded[3:6], [0, 1, 2], metadata=_named("wren", "owl", "robin"))
    _write(folder / TEST, encoded[6:9], [0, 1, 1], metadata=_named("robin", "owl", "finch"))
    images = load_images("hf-parquet:birds", folder)
    assert images.train.labels.tolist() == [0, 1, 2, 2, 0, 1]
    assert images.test.labels.tolist() == [1, 0, 0]
    assert images.classes == 3
    assert images.notes == (
        "labels mapped to the class order of train-00000-of-00002.parquet: "
        "train-00001-of-00002.parquet, test-00000-of-00001.parquet",
    )


@pytest.mark.parametrize(
    ("names", "label", "words"),
    [
        (
            ("wren", "owl", "finch"),
            2,
            "row 1, is of the class 'finch', which {first} does not have",
        ),
        (("wren", "owl"), 2, "row 1, has the label 2, and there are 2 classes"),
        (("wren", "owl"), -1, "row 1, has the label -1"),
        (("owl", "owl", "wren"), 1, "names other classes than {first}, and one file names a class"),
    ],
)
def test_classes_that_cannot_be_brought_into_one_order_are_refused(folder, names, label, words):
    encoded = [_encode(pixels) for pixels in PIXELS]
    _write(folder / TRAIN, encoded[:3], [0, 1, 2], metadata=_named("owl", "robin", "wren"))
    _write(folder / TEST, encoded[:2], [0, label], metadata=_named(*names))
    message, _ = _two_lines(folder)
    assert message.startswith(str(folder / TEST))
    assert words.format(first=folder / TRAIN) in message


def test_files_without_names_of_classes_are_said(folder):
    _write(folder / TRAIN, [_encode(PIXELS[0])], [0], metadata=_named("owl", "robin", "wren"))
    (note,) = load_images("hf-parquet:birds", folder).notes
    assert note == (
        "no class names, labels used as they are: train-00001-of-00002.parquet, "
        "test-00000-of-00001.parquet"
    )


def _header_only(width, height):
    """What a PNG file of that size begins with: enough to know its size, too little to decode."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT"
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Elsewhere Pillow only warns of the first two, and the tests make errors of all warnings.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("pixels", [90_000_000, 150_000_000, 180_000_000])
def test_an_image_above_the_limit_is_refused_by_file_and_row_and_never_decoded(folder, pixels):
    _write(folder / TEST, [_encode(PIXELS[0]), _header_only(10_000, pixels // 10_000)], [0, 1])
    message, hint = _two_lines(folder)
    assert f"{folder / TEST}, row 1, cannot be decoded: Image size ({pixels} pixels)" in message
    assert "PIL.Image.MAX_IMAGE_PIXELS" in hint


@pytest.mark.parametrize(
    ("image", "label"), [("image", "labels"), ("image", "fine_label"), ("img", "fine_label")]
)
def test_other_names_of_the_columns(folder, image, label):
    _write(folder / TEST, [_encode(PIXELS[0])], [1], image, label)
    assert load_images("hf-parquet:birds", folder).test.labels.tolist() == [1]


def test_metadata_tells_the_number_of_classes(folder):
    _write(folder / TRAIN, [_encode(PIXELS[0])], [1], metadata=_named(*"abcdefg"))
    assert load_images("hf-parquet:birds", folder).classes == 7


def test_grey_images_have_one_channel(tmp_path):
    for part in ("train", "test"):
        _write(tmp_path / f"grey/{part}-0.parquet", [_encode(PIXELS[0, :, :, 0])], [0])
    images = load_images("hf-parquet:grey", tmp_path)
    assert images.shape == ImageShape(1, 5, 4)
    assert np.array_equal(images.train.images[0, 0], PIXELS[0, :, :, 0])


def test_grey_among_coloured_images_becomes_coloured(folder):
    _write(folder / TEST, [_encode(PIXELS[0, :, :, 0])], [0])
    images = load_images("hf-parquet:birds", folder)
    assert images.test.images.shape == (1, 3, 5, 4)
    assert all(np.array_equal(images.test.images[0, c], PIXELS[0, :, :, 0]) for c in range(3))


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_a_file_that_is_cut_short_is_named(folder, keep):
    path = folder / TRAIN
    path.write_bytes(path.read_bytes()[:keep])
    message, hint = _two_lines(folder)
    assert str(path) in message
    assert hint == "delete it and download it again"


def test_a_file_with_overwritten_pages_is_named(folder):
    path = folder / TEST
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    message, _ = _two_lines(folder)
    assert str(path) in message


def test_a_corrupt_image_is_named_by_file_and_row(folder):
    jpeg = _encode(np.zeros((5, 4, 3)), "JPEG")
    for damaged in (jpeg[:-40], b"not an image", b"", None):
        _write(folder / TEST, [_encode(PIXELS[0]), damaged], [0, 1])
        message, hint = _two_lines(folder)
        assert f"{folder / TEST}, row 1, cannot be decoded" in message
        assert "download the file again" in hint


def test_a_missing_part_says_the_layout(folder):
    (folder / TEST).unlink()
    message, hint = _two_lines(folder)
    assert message == f"{folder / 'birds'} has no file test-*.parquet"
    assert "validation-*.parquet" in hint


def test_a_missing_column_lists_those_there(folder):
    _write(folder / TEST, [_encode(PIXELS[0])], [1], image="picture")
    message, hint = _two_lines(folder)
    assert message == f"{folder / TEST} has no image column, only picture, label"
    assert hint == "name it img or image"


def test_columns_of_another_type_are_named(folder):
    _write(folder / TEST, [_encode(PIXELS[0])], ["robin"])
    assert f"column label of {folder / TEST} holds string" in _two_lines(folder)[0]
    pq.write_table(pa.table({"img": [1], "label": [1]}), folder / TEST)
    assert f"column img of {folder / TEST} holds int64" in _two_lines(folder)[0]


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_named_by_file_and_row(folder, label):
    _write(folder / TRAIN, [_encode(PIXELS[0])] * 2, [0, label], metadata=_named(*"abc"))
    message, _ = _two_lines(folder)
    assert f"{folder / TRAIN}, row 1, has the label {label}" in message


def test_a_row_without_a_label_is_named(folder):
    _write(folder / TEST, [_encode(PIXELS[0])] * 2, [0, None])
    assert f"{folder / TEST}, row 1, has no label" in _two_lines(folder)[0]


def test_a_file_without_rows_is_an_error(folder):
    table = pq.read_table(folder / TEST)
    pq.write_table(table.slice(0, 0), folder / TEST)
    assert "has no test images" in _two_lines(folder)[0]


def test_differing_sizes_name_both_rows_and_how_to_resize(folder):
    _write(folder / TEST, [_encode(PIXELS[0]), _encode(PIXELS[0, :3])], [0, 1])
    message, hint = _two_lines(folder)
    assert f"{folder / TEST}, row 1, has 3x4 pixels" in message
    assert "has 5x4" in message
    assert "?size=4" in hint
    resized = load_images("hf-parquet:birds?size=4", folder)
    assert resized.shape == ImageShape(3, 4, 4)
    assert resized.name == "hf-parquet:birds?size=4"


@pytest.mark.parametrize("option", ["?size=0", "?size=big", "?size=-3", "?width=3", "?"])
def test_another_option_than_a_size_is_refused(folder, option):
    with pytest.raises(UsageError, match="size="):
        load_images(f"hf-parquet:birds{option}", folder)


def test_cifar10_is_read_from_parquet_files_if_they_are_there(folder):
    (folder / "birds").rename(folder / "cifar10")
    images = load_images("cifar10", folder)
    assert images.name == "cifar10"
    assert images.source == str(folder / "cifar10")
    with pytest.raises(UsageError, match="takes no argument"):
        load_images("cifar10:small", folder)


def test_the_real_cifar10_test_images_are_read(data_dir, tmp_path):
    # Some of its rows stand for the training part: decoding all 60,000 images takes long.
    (source,) = (data_dir / "cifar10").glob("test-*.parquet")
    (tmp_path / "test-0.parquet").symlink_to(source)
    pq.write_table(pq.read_table(source).slice(0, 20), tmp_path / "train-0.parquet")
    images = load_images(f"hf-parquet:{tmp_path}")
    assert images.shape == ImageShape(3, 32, 32)
    assert images.classes == 10
    assert images.test.labels.bincount().tolist() == [1000] * 10
