"""Labels in and out: each layout is recognised, read whole, written to be read back, told when broken."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hotloop.errors import LabelError, LayoutError
from hotloop.verticals.inspection.boards import KINDS, draw_board
from hotloop.verticals.inspection.labels import (
    LabelSet,
    Piece,
    Truth,
    read_labels,
    save_coco,
    save_deeppcb,
    save_yolo,
)

DATA = os.environ.get("HOTLOOP_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="HOTLOOP_DATA names no folder of real data")


def picture(path: Path, width: int = 40, height: int = 30) -> Path:
    """A small picture at a path, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width), 90, np.uint8)).save(path)
    return path


def written(path: Path, text: str) -> Path:
    """A text file at a path, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def two_pieces(tmp_path: Path) -> LabelSet:
    """Two pieces in two folders, one with a template and two truths, one good."""
    source = tmp_path / "source"
    one, two = picture(source / "a/x.png"), picture(source / "b/x.png", 64, 48)
    template = picture(source / "a/x_temp.png")
    truths = (Truth("scratch", (1.5, 2.0, 11.25, 20.0)), Truth("dent", (0.0, 0.0, 40.0, 30.0)))
    return LabelSet(("dent", "scratch"), (Piece(one, template, truths), Piece(two)))


def deeppcb(root: Path, lines: str = "3 4 20 21 1\n") -> Path:
    """A DeepPCB folder of one pair; returns its label file."""
    picture(root / "PCBData/g/1/7_test.jpg")
    picture(root / "PCBData/g/1/7_temp.jpg")
    written(root / "PCBData/trainval.txt", "g/1/7.jpg g/1_not/7.txt\n")
    return written(root / "PCBData/g/1_not/7.txt", lines)


class TestDeepPCB:
    """Pairs of a test and a template."""

    def test_boards_written_are_read_back(self, tmp_path: Path) -> None:
        """Drawn boards come back with their boxes, kinds and, but for JPEG's noise, their pixels."""
        boards = [draw_board(seed, size_px=256) for seed in range(3)]
        save_deeppcb(tmp_path, boards)
        found = read_labels(tmp_path)
        assert found.layout == "deeppcb"
        assert found.labels == KINDS
        for board, piece in zip(boards, found.pieces, strict=True):
            assert [t.label for t in piece.truths] == [d.kind for d in board.defects]
            assert [t.region for t in piece.truths] == [d.box for d in board.defects]
            assert piece.template is not None
            for path, image in ((piece.image, board.test), (piece.template, board.template)):
                assert np.array_equal(np.asarray(Image.open(path)) > 127, image > 127)

    def test_every_way_in_reads_the_same(self, tmp_path: Path) -> None:
        """The folder above PCBData, PCBData itself and the list file name the same set."""
        deeppcb(tmp_path)
        ways = (tmp_path, tmp_path / "PCBData", tmp_path / "PCBData/trainval.txt")
        assert len({read_labels(way) for way in ways}) == 1

    def test_commas_are_read_as_spaces(self, tmp_path: Path) -> None:
        """Some copies of the set separate by commas."""
        deeppcb(tmp_path, "3,4,20,21,6\n\n1 2 9 9 2\n")
        assert read_labels(tmp_path).pieces[0].truths == (
            Truth("pin-hole", (3, 4, 20, 21)),
            Truth("short", (1, 2, 9, 9)),
        )

    def test_trainval_comes_before_test(self, tmp_path: Path) -> None:
        """A folder with both splits gives the one to learn from; the test split is read when it is named."""
        deeppcb(tmp_path)
        written(tmp_path / "PCBData/test.txt", "")
        assert len(read_labels(tmp_path).pieces) == 1
        assert read_labels(tmp_path / "PCBData/test.txt").pieces == ()

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("3 4 20 21", "x1 y1 x2 y2 type"),
            ("3 4 20 21 1 9", "x1 y1 x2 y2 type"),
            ("3 4 x 21 1", "x1 y1 x2 y2 type"),
            ("3 4 20 21 0", "type 0"),
            ("3 4 20 21 7", "type 7"),
            ("20 4 3 21 1", "is none"),
            ("3 4 20 4 1", "is none"),
            ("-9 4 20 21 1", "is none"),
        ],
    )
    def test_a_broken_line_is_named(self, tmp_path: Path, line: str, said: str) -> None:
        """A wrong line of a label file is told by file and number."""
        file = deeppcb(tmp_path, f"1 2 9 9 2\n{line}\n")
        with pytest.raises(LabelError, match=said) as caught:
            read_labels(tmp_path)
        assert str(caught.value).startswith(f"{file}, line 2: ")

    def test_a_missing_image_or_label_file_is_named(self, tmp_path: Path) -> None:
        """A pair whose template or whose labels are not there is told."""
        file = deeppcb(tmp_path)
        template = tmp_path / "PCBData/g/1/7_temp.jpg"
        template.unlink()
        with pytest.raises(LabelError, match=r"trainval.txt, line 1: .*7_temp.jpg"):
            read_labels(tmp_path)
        picture(template)
        file.unlink()
        with pytest.raises(LabelError, match=r"7.txt: cannot be read"):
            read_labels(tmp_path)

    @pytest.mark.parametrize("name", ["../7.jpg", "/etc/passwd.jpg", "g/../../7.jpg", "a\0b.jpg"])
    def test_names_that_lead_out_are_refused(self, tmp_path: Path, name: str) -> None:
        """A list file cannot make us read outside its folder."""
        deeppcb(tmp_path)
        for line in (f"{name} g/1_not/7.txt\n", f"g/1/7.jpg {name}\n"):
            written(tmp_path / "PCBData/trainval.txt", line)
            with pytest.raises(LabelError, match="is not inside"):
                read_labels(tmp_path)

    def test_a_list_line_of_other_words_is_named(self, tmp_path: Path) -> None:
        """A line of the list has two names, no more and no fewer."""
        deeppcb(tmp_path)
        written(tmp_path / "PCBData/trainval.txt", "g/1/7.jpg\n")
        with pytest.raises(LabelError, match=r"line 1: wanted an image and a label file, found 1"):
            read_labels(tmp_path)

    def test_bytes_that_are_no_text_are_named(self, tmp_path: Path) -> None:
        """A label file that is not UTF-8 is told, not half read."""
        deeppcb(tmp_path).write_bytes(b"\xff\xfe\x00\x01")
        with pytest.raises(LabelError, match="UTF-8"):
            read_labels(tmp_path)

    @needs_data
    def test_the_real_set_is_read_whole(self) -> None:
        """The trainval part of DeepPCB has 1,000 pairs and 6,873 boxes."""
        found = read_labels(Path(DATA) / "deeppcb")
        assert len(found.pieces) == 1_000
        assert sum(len(piece.truths) for piece in found.pieces) == 6_873


class TestCoco:
    """One JSON file."""

    CONTENT = {
        "images": [{"id": 9, "file_name": "x.png", "width": 40, "height": 30}],
        "annotations": [{"id": 1, "image_id": 9, "category_id": 3, "bbox": [1, 2, 10, 5.5]}],
        "categories": [{"id": 3, "name": "dent"}, {"id": 1, "name": "scratch"}],
    }

    def test_what_is_written_is_read_back(self, tmp_path: Path, two_pieces: LabelSet) -> None:
        """A set goes through COCO with labels, boxes, templates and names, and is a folder of its own."""
        folder = tmp_path / "out"
        file = save_coco(folder, two_pieces)
        assert file == folder / "annotations/instances.json"
        found = read_labels(folder)
        assert found.layout == "coco"
        assert found.labels == two_pieces.labels
        assert [p.truths for p in found.pieces] == [p.truths for p in two_pieces.pieces]
        assert [p.image for p in found.pieces] == [folder / "images/a/x.png", folder / "images/b/x.png"]
        assert [p.template for p in found.pieces] == [folder / "templates/a/x.png", None]
        sizes = [(i["width"], i["height"]) for i in json.loads(file.read_text())["images"]]
        assert sizes == [(40, 30), (64, 48)]

    def test_a_truth_of_the_whole_piece_goes_through(self, tmp_path: Path) -> None:
        """A truth without a region is written without a box and read back as such."""
        piece = Piece(picture(tmp_path / "s/x.png"), None, (Truth("crack"),))
        save_coco(tmp_path / "out", LabelSet(("crack",), (piece,)))
        assert read_labels(tmp_path / "out").pieces[0].truths == (Truth("crack", None),)

    @pytest.mark.parametrize("place", ["x.png", "images/x.png", "../images/x.png", "../x.png"])
    def test_images_are_found_where_exporters_put_them(self, tmp_path: Path, place: str) -> None:
        """Names are looked for beside the file, in images/, and one folder up."""
        file = written(tmp_path / "set/annotations/all.json", json.dumps(self.CONTENT))
        picture((file.parent / place).resolve())
        found = read_labels(file)
        assert found.labels == ("scratch", "dent")
        assert found.pieces[0].image.resolve() == (file.parent / place).resolve()
        assert found.pieces[0].truths == (Truth("dent", (1.0, 2.0, 11.0, 7.5)),)

    def test_a_test_split_is_left_aside(self, tmp_path: Path) -> None:
        """Of several files in a folder the one called test is not the one to learn from."""
        picture(tmp_path / "images/x.png")
        written(tmp_path / "annotations/instances_test.json", json.dumps({**self.CONTENT, "images": []}))
        written(tmp_path / "annotations/instances_train.json", json.dumps(self.CONTENT))
        assert len(read_labels(tmp_path).pieces) == 1

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                {"annotations": [{"id": 5, "image_id": 8, "category_id": 3}]},
                r"annotation 0 \(id 5\).*no image with id 8",
            ),
            ({"annotations": [{"id": 5, "image_id": 9, "category_id": 4}]}, "no category with id 4"),
            ({"annotations": [{"id": 5, "image_id": 9, "category_id": 3, "bbox": [1, 2, 0, 4]}]}, "is none"),
            (
                {"annotations": [{"id": 5, "image_id": 9, "category_id": 3, "bbox": [1, 2, 3]}]},
                "no COCO file",
            ),
            ({"annotations": [{"id": 5, "image_id": "9", "category_id": 3}]}, "no COCO file"),
            ({"images": [{"id": 9, "file_name": "y.png"}]}, r"image 9: there is no image .*y.png"),
            ({"images": [{"id": 9, "file_name": "../../x.png"}]}, "is not inside"),
            ({"images": [{"id": 9, "file_name": "/x.png"}]}, "is not inside"),
            ({"images": [{"id": 9, "file_name": "x.png"}] * 2}, "used for two"),
            ({"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}, "used for two"),
        ],
    )
    def test_a_broken_entry_is_named(self, tmp_path: Path, change: dict[str, object], said: str) -> None:
        """A wrong entry is told by file and place."""
        picture(tmp_path / "images/x.png")
        file = written(tmp_path / "all.json", json.dumps({**self.CONTENT, **change}))
        with pytest.raises(LabelError, match=said) as caught:
            read_labels(tmp_path)
        assert str(caught.value).startswith(str(file))

    def test_json_cut_short_is_named(self, tmp_path: Path) -> None:
        """A file that ends too early is no COCO file."""
        written(tmp_path / "all.json", json.dumps(self.CONTENT)[:-20])
        with pytest.raises(LabelError, match=r"all.json: is no COCO file"):
            read_labels(tmp_path)

    def test_a_label_outside_the_set_is_not_written(self, tmp_path: Path) -> None:
        """A truth whose label is not one of the set's is told before the file is written."""
        piece = Piece(picture(tmp_path / "s/x.png"), None, (Truth("crack", (0, 0, 2, 2)),))
        with pytest.raises(LabelError, match="'crack' is not one of"):
            save_coco(tmp_path / "out", LabelSet(("dent",), (piece,)))


class TestYolo:
    """Text files beside the images."""

    def folder(self, root: Path, names: str = "dent\nscratch\n", lines: str = "1 0.5 0.5 0.25 0.5\n") -> Path:
        """A YOLO folder of one labelled and one good picture; returns the label file."""
        picture(root / "images/x.png")
        picture(root / "images/y.png")
        written(root / "classes.txt", names)
        return written(root / "labels/x.txt", lines)

    def test_what_is_written_is_read_back(self, tmp_path: Path, two_pieces: LabelSet) -> None:
        """A set goes through YOLO with labels, boxes to a hundredth pixel, templates and names."""
        folder = tmp_path / "out"
        assert save_yolo(folder, two_pieces) == folder / "data.yaml"
        for way in (folder, folder / "data.yaml"):
            found = read_labels(way)
            assert found.layout == "yolo"
            assert found.labels == two_pieces.labels
            assert [p.image for p in found.pieces] == [folder / "images/a/x.png", folder / "images/b/x.png"]
            assert [p.template for p in found.pieces] == [folder / "templates/a/x.png", None]
            for one, two in zip(found.pieces, two_pieces.pieces, strict=True):
                assert [t.label for t in one.truths] == [t.label for t in two.truths]
                for a, b in zip(one.truths, two.truths, strict=True):
                    assert a.region == pytest.approx(b.region, abs=0.01)

    def test_boxes_are_shares_of_their_image(self, tmp_path: Path) -> None:
        """Centre and size are scaled by the image's own width and height."""
        self.folder(tmp_path)
        first, second = read_labels(tmp_path).pieces
        assert first.truths == (Truth("scratch", (15.0, 7.5, 25.0, 22.5)),)
        assert second.truths == ()

    def test_a_polygon_gives_its_box(self, tmp_path: Path) -> None:
        """A segmentation line is read as the box around its points."""
        self.folder(tmp_path, lines="0 0.1 0.2 0.5 0.4 0.3 0.9\n")
        assert read_labels(tmp_path).pieces[0].truths[0].region == pytest.approx((4.0, 6.0, 20.0, 27.0))

    def test_label_files_may_lie_beside_the_images(self, tmp_path: Path) -> None:
        """Without folders of their own, x.txt is the label file of x.png."""
        picture(tmp_path / "x.png")
        written(tmp_path / "x.txt", "0 0.5 0.5 1 1\n")
        written(tmp_path / "classes.txt", "dent\n")
        assert read_labels(tmp_path).pieces[0].truths == (Truth("dent", (0.0, 0.0, 40.0, 30.0)),)

    def test_the_test_split_is_left_aside(self, tmp_path: Path) -> None:
        """images/test is not read with images/train."""
        for split in ("train", "test"):
            picture(tmp_path / f"images/{split}/x.png")
            written(tmp_path / f"labels/{split}/x.txt", "0 0.5 0.5 0.5 0.5\n")
        written(tmp_path / "classes.txt", "dent\n")
        assert [p.image.parent.name for p in read_labels(tmp_path).pieces] == ["train"]

    @pytest.mark.parametrize(
        "text",
        [
            "names: [dent, scratch]\n",
            "train: images # all\nnames: ['dent', \"scratch\"]  # two\nnc: 2\n",
            "names:\n  0: dent\n  1: 'scratch'\nnc: 2\n",
            "names:\n- dent\n- scratch\n",
            "names: {0: dent, 1: scratch}\n",
            "names: [dent,\n  scratch]\nnc: 2\n",
        ],
    )
    def test_names_are_read_in_each_form_of_yaml(self, tmp_path: Path, text: str) -> None:
        """The forms of `names:` that trainers write all give the classes in order."""
        self.folder(tmp_path)
        (tmp_path / "classes.txt").unlink()
        written(tmp_path / "data.yaml", text)
        assert read_labels(tmp_path).labels == ("dent", "scratch")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("nc: 2\n", "no line 'names:'"),
            ("names:\nnc: 2\n", "wanted the classes' names"),
            ("names: [dent, dent]\n", "each once"),
            ("names:\n  1: dent\n", "class 1 stands where 0 should"),
        ],
    )
    def test_names_that_cannot_be_are_told(self, tmp_path: Path, text: str, said: str) -> None:
        """A yaml file without names, or with names that are not one each, is refused."""
        self.folder(tmp_path)
        (tmp_path / "classes.txt").unlink()
        written(tmp_path / "data.yaml", text)
        with pytest.raises(LabelError, match=said):
            read_labels(tmp_path)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("2 0.5 0.5 0.1 0.1", "class 2 is not one of 0 to 1"),
            ("-1 0.5 0.5 0.1 0.1", "class -1"),
            ("a 0.5 0.5 0.1 0.1", "wanted numbers"),
            ("1 0.5 0.5 0.1", "found 3"),
            ("1", "found 0"),
            ("1 0.1 0.1 0.2 0.2 0.3", "found 5"),
            ("1 20 10 5 5", "shares of the image"),
            ("1 nan 0.5 0.1 0.1", "shares of the image"),
            ("1 0.5 0.5 0 0.1", "is none"),
        ],
    )
    def test_a_broken_line_is_named(self, tmp_path: Path, line: str, said: str) -> None:
        """A wrong line is told by file and number."""
        file = self.folder(tmp_path, lines=f"0 0.5 0.5 0.5 0.5\n{line}\n")
        with pytest.raises(LabelError, match=said) as caught:
            read_labels(tmp_path)
        assert str(caught.value).startswith(f"{file}, line 2: ")

    def test_an_unreadable_image_is_named(self, tmp_path: Path) -> None:
        """An image that cannot be measured is told together with its label file."""
        self.folder(tmp_path)
        (tmp_path / "images/x.png").write_bytes(b"no image")
        with pytest.raises(LabelError, match=r"x.txt: .*x.png cannot be measured"):
            read_labels(tmp_path)

    def test_a_truth_without_a_box_is_not_written(self, tmp_path: Path) -> None:
        """YOLO has no words for a truth of the whole piece; COCO is advised."""
        piece = Piece(picture(tmp_path / "s/x.png"), None, (Truth("crack"),))
        with pytest.raises(LabelError, match="use COCO"):
            save_yolo(tmp_path / "out", LabelSet(("crack",), (piece,)))


class TestMasks:
    """Folders of kinds, with masks."""

    def kind(self, root: Path, name: str, parts: list[tuple[int, int, int, int]], value: int = 255) -> Path:
        """A picture with a mask of boxes in a folder of its kind; returns the mask's path."""
        image = picture(root / name / "Imgs/p.jpg", 60, 50)
        mask = np.zeros((50, 60), np.uint8)
        for x1, y1, x2, y2 in parts:
            mask[y1:y2, x1:x2] = value
        Image.fromarray(mask).save(image.with_suffix(".png"))
        return image.with_suffix(".png")

    def test_each_part_of_a_mask_is_a_truth(self, tmp_path: Path) -> None:
        """Separate parts are separate truths, in the folder's kind; the good folder has none."""
        self.kind(tmp_path, "MT_Crack", [(2, 3, 10, 9), (30, 20, 44, 50)])
        self.kind(tmp_path, "MT_Free", [])
        found = read_labels(tmp_path)
        assert found.layout == "masks"
        assert found.labels == ("Crack",)
        crack, free = found.pieces
        assert crack.truths == (Truth("Crack", (2, 3, 10, 9)), Truth("Crack", (30, 20, 44, 50)))
        assert free.truths == ()

    def test_masks_of_noughts_and_ones_count(self, tmp_path: Path) -> None:
        """A mask of 0 and 1 is read as one of 0 and 255; faint noise in one of 255 is not."""
        self.kind(tmp_path, "crack", [(2, 3, 10, 9)], value=1)
        assert read_labels(tmp_path).pieces[0].truths == (Truth("crack", (2, 3, 10, 9)),)
        self.kind(tmp_path, "crack", [(2, 3, 10, 9)], value=40)
        assert read_labels(tmp_path).pieces[0].truths == (Truth("crack", None),)

    def test_an_empty_mask_is_a_truth_of_the_whole_piece(self, tmp_path: Path) -> None:
        """A piece in a folder of a kind is not good because nobody drew where: real sets have such masks."""
        self.kind(tmp_path, "crack", [])
        assert read_labels(tmp_path).pieces[0].truths == (Truth("crack", None),)

    def test_specks_of_a_mask_are_no_truths(self, tmp_path: Path) -> None:
        """Parts of fewer than four pixels are what compression left."""
        self.kind(tmp_path, "crack", [(2, 3, 10, 9), (40, 40, 41, 43)])
        assert len(read_labels(tmp_path).pieces[0].truths) == 1

    def test_kinds_without_a_shared_beginning_keep_their_names(self, tmp_path: Path) -> None:
        """Only what all folders begin with is cut from the names."""
        self.kind(tmp_path, "deep_scratch", [(2, 3, 10, 9)])
        self.kind(tmp_path, "dent", [(2, 3, 10, 9)])
        assert read_labels(tmp_path).labels == ("deep_scratch", "dent")

    def test_a_missing_mask_is_named(self, tmp_path: Path) -> None:
        """An image of a kind needs its mask."""
        self.kind(tmp_path, "crack", [(2, 3, 10, 9)])
        picture(tmp_path / "crack/Imgs/q.jpg")
        with pytest.raises(LabelError, match=r"q.jpg: has no mask q.png"):
            read_labels(tmp_path)

    def test_a_mask_of_another_size_is_named(self, tmp_path: Path) -> None:
        """A mask must be of its image's size."""
        mask = self.kind(tmp_path, "crack", [(2, 3, 10, 9)])
        picture(mask, 20, 20)
        with pytest.raises(LabelError, match="20 x 20 pixels, its image 60 x 50"):
            read_labels(tmp_path)

    def test_a_broken_mask_is_named(self, tmp_path: Path) -> None:
        """A mask that is no image is told."""
        self.kind(tmp_path, "crack", [(2, 3, 10, 9)]).write_bytes(b"\x89PNG")
        with pytest.raises(LabelError, match=r"p.png: "):
            read_labels(tmp_path)

    @needs_data
    def test_the_real_set_is_read_whole(self) -> None:
        """The magnetic tiles have five kinds, 318 good pieces of 710, and all others a truth."""
        found = read_labels(Path(DATA) / "magnetic-tile")
        assert sorted(found.labels) == ["Blowhole", "Break", "Crack", "Fray", "Uneven"]
        good = Counter(bool(piece.truths) for piece in found.pieces)
        assert good == {True: 392, False: 318}


class TestRecognising:
    """What is in no layout is told with what was looked for and what was found."""

    def test_an_unknown_folder_says_what_was_looked_for(self, tmp_path: Path) -> None:
        """The message names all four layouts and the files that are there."""
        written(tmp_path / "readme.md", "hello")
        (tmp_path / "stuff").mkdir()
        with pytest.raises(LayoutError) as caught:
            read_labels(tmp_path)
        for word in ("DeepPCB", "COCO", "YOLO", "masks", "Found: readme.md, stuff/"):
            assert word in str(caught.value)

    def test_many_files_are_counted_not_listed(self, tmp_path: Path) -> None:
        """A folder of hundreds of files does not fill the screen."""
        for number in range(30):
            written(tmp_path / f"{number:02}.md", "")
        with pytest.raises(LayoutError, match=r"11.md and 18 more"):
            read_labels(tmp_path)

    def test_nothing_and_an_empty_folder_are_told(self, tmp_path: Path) -> None:
        """A path that is not there and a folder with nothing in it are different mistakes."""
        with pytest.raises(LayoutError, match="there is nothing there"):
            read_labels(tmp_path / "no")
        with pytest.raises(LayoutError, match="an empty folder"):
            read_labels(tmp_path)

    def test_a_single_file_of_no_layout_is_told(self, tmp_path: Path) -> None:
        """A file that is no list, JSON or yaml is described by its size."""
        with pytest.raises(LayoutError, match="a file of 5 bytes"):
            read_labels(written(tmp_path / "a.md", "hello"))

    def test_class_names_without_labels_are_no_layout(self, tmp_path: Path) -> None:
        """A classes.txt beside pictures without any label file is not enough to call them good."""
        picture(tmp_path / "images/x.png")
        written(tmp_path / "classes.txt", "dent\n")
        with pytest.raises(LayoutError):
            read_labels(tmp_path)

    def test_an_empty_set_is_written_and_read(self, tmp_path: Path) -> None:
        """A set without pieces goes through COCO."""
        save_coco(tmp_path, LabelSet(("dent",), ()))
        assert read_labels(tmp_path) == LabelSet(("dent",), (), "coco")
