"""XDREAM's shared folder: files as MATLAB rigs write them, and an emulated rig behind the folder."""

from __future__ import annotations

import base64
import threading

import numpy as np
import pytest
from PIL import Image

from protocols import plugins
from protocols.conformance import check_acquisition
from protocols.errors import DataError, RecorderGap, RigError, SettingsError
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Role
from rig_client.acquisition import shared_folder
from rig_client.acquisition.formats.answers import Answer, write_mat5
from rig_client.acquisition.shared_folder import SharedFolder, SharedFolderSettings
from rig_client.emulators.shared_folder import SharedFolderEmulator, SharedFolderEmulatorSettings

SESSION = SessionInfo(session_id="s", seed=3)
WINDOW_S = (0.07, 0.17)


@pytest.fixture
def block(images):
    order = [0, 1, 2, 3, 3, 2, 1, 0]
    return Block.of(images, roles=Role.CONTROL, order=order).at(7, "t")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "shared"


@pytest.fixture(autouse=True)
def believed_at_once(monkeypatch):
    monkeypatch.setattr(shared_folder, "STILL_S", 0.0)


def test_rows_of_zeros_are_believed_only_of_a_file_that_stays_as_it_is(folder, block, monkeypatch):
    """HDF5 makes room for the responses, as zeros, before they are written."""
    now_s = 10.0
    monkeypatch.setattr(shared_folder, "STILL_S", 2.0)
    monkeypatch.setattr(shared_folder.time, "monotonic", lambda: now_s)
    recorder = waiting(folder, block)
    mat5(folder, names(folder), np.array([[3.0, 4.0]] * 3 + [[0.0, 0.0]]))
    assert "whole" in recorder.trouble()
    now_s = 11.9
    assert "rows of zeros" in recorder.trouble()
    now_s = 12.0
    assert recorder.trouble() == ""


def waiting(folder, block=None, **settings):
    settings = {"sites": ("a", "b"), "wait_s": 0.01, **settings}
    recorder = SharedFolder(SharedFolderSettings(folder=folder, **settings), SESSION)
    if block is not None:
        recorder.stage(block)
    return recorder


def names(folder):
    return sorted(path.name for path in folder.glob("block007_*.png"))


def counts(recorder, block):
    return [recorder.spike_counts(cue, WINDOW_S).counts.tolist() for cue in block.cues()]


def mat5(folder, ids, responses, **more):
    io = pytest.importorskip("scipy.io")
    cells = np.empty((1, len(ids)), object)
    cells[0] = ids
    io.savemat(folder / "block007.mat", {"stimulusID": cells, "tEvokedResp": responses, **more})


def mat73(folder, ids, responses):
    """As MATLAB 7.3: a header of 512 bytes, references to numbers of characters."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "block007.mat", "w", userblock_size=512) as file:
        references = [file.create_dataset(f"#refs#/{i}", data=_codes(name)).ref for i, name in ids]
        file["stimulusID"] = np.array([references], h5py.ref_dtype)
        file["tEvokedResp"] = responses
    with (folder / "block007.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(124) + b"\0\2IM")


def _codes(name):
    return np.array([[ord(letter)] for letter in name], np.uint16)


def test_images_arrive_upright_and_unchanged(folder, block):
    waiting(folder, block)
    assert len(names(folder)) == 4
    assert names(folder)[2] == f"block007_0002_{block.stimulus_ids[2][:8]}.png"
    for name, image in zip(names(folder), block.images, strict=True):
        assert (np.asarray(Image.open(folder / name)) == image).all()


def test_rows_go_to_their_images_and_repetitions(folder, block):
    recorder = waiting(folder, block)
    a, b, c, d = names(folder)
    ids = [f"D:\\stimuli\\{d}", a, b.removesuffix(".png"), c, f"/mnt/x/{a}", d, c, b]
    mat5(folder, ids, np.arange(16.0).reshape(8, 2))
    assert recorder.trouble() == f"waiting for block007.mat or .h5 in {folder} to be whole"
    assert recorder.trouble() == ""
    # the block shows a b c d d c b a; rows: d a b c a d c b
    rows = [1, 2, 3, 0, 5, 6, 7, 4]
    assert counts(recorder, block) == [[2.0 * row, 2.0 * row + 1] for row in rows]


def test_matlab_7_3_is_read_too(folder, block):
    recorder = waiting(folder, block)
    ids = list(enumerate(names(folder) * 2))
    mat73(folder, ids, np.arange(16.0).reshape(8, 2))
    assert recorder.trouble()
    assert recorder.trouble() == ""
    assert counts(recorder, block)[:4] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_responses_that_stand_on_end_are_turned(folder, block):
    recorder = waiting(folder, block)
    mat5(folder, names(folder), np.arange(8.0).reshape(2, 4))
    first = next(block.cues())
    recorder.trouble()
    assert recorder.spike_counts(first, WINDOW_S).counts.tolist() == [0, 4]


@pytest.mark.parametrize(("layout", "first"), [("images_by_channels", [0, 1, 2, 3]),
                                               ("channels_by_images", [0, 4, 8, 12])])  # fmt: skip
def test_as_many_images_as_channels_need_a_word(folder, block, layout, first):
    square = np.arange(16.0).reshape(4, 4)
    recorder = waiting(folder, block, sites=tuple("abcd"))
    mat5(folder, names(folder), square)
    recorder.trouble()
    with pytest.raises(RigError, match="set layout"):
        recorder.trouble()
    recorder = waiting(folder, block, sites=tuple("abcd"), layout=layout)
    recorder.trouble()
    cue = next(block.cues())
    assert recorder.spike_counts(cue, WINDOW_S).counts.tolist() == first


def test_some_channels_of_many(folder, block):
    recorder = waiting(folder, block, sites={"x": 5, "y": 1})
    mat5(folder, names(folder), np.arange(24.0).reshape(4, 6))
    recorder.trouble()
    assert recorder.site_ids == ("x", "y")
    assert recorder.spike_counts(next(block.cues()), WINDOW_S).counts.tolist() == [4, 0]


def test_rates_become_counts_of_the_window_and_a_baseline_is_given_back(folder, block):
    recorder = waiting(folder, block, responses="rates", offset=5)
    mat5(folder, names(folder), np.full((4, 2), 25.0))
    recorder.trouble()
    found = recorder.spike_counts(next(block.cues()), WINDOW_S).counts
    assert found == pytest.approx([3, 3])


@pytest.mark.parametrize(
    ("rows", "fault"), [([0, 1, 2, 3], "missing_repetition"), ([0, 1, 2, 3, 0], "missing_response")]
)
def test_what_is_missing_has_a_name(folder, block, rows, fault):
    recorder = waiting(folder, block)
    responses = np.zeros((len(rows), 2))
    responses[4:, 1] = np.nan
    mat5(folder, [names(folder)[row] for row in rows], responses)
    recorder.trouble()
    cues = list(block.cues())
    with pytest.raises(RecorderGap) as gap:
        recorder.spike_counts(cues[7], WINDOW_S)  # the second showing of the first image
    assert gap.value.fault == fault
    assert recorder.spike_counts(cues[1], WINDOW_S).counts.tolist() == [0, 0]


def test_a_rig_that_does_not_answer_has_a_name(folder, block):
    with pytest.raises(RecorderGap) as gap:
        waiting(folder, block).spike_counts(next(block.cues()), WINDOW_S)
    assert gap.value.fault == "silent_stream"


@pytest.mark.parametrize("part", [0, 0.2, 0.7, 0.98])
@pytest.mark.parametrize("write", ["mat5", "mat73"])
def test_half_a_file_is_waited_for(folder, block, write, part):
    recorder = waiting(folder, block)
    if write == "mat5":
        mat5(folder, names(folder), np.zeros((4, 2)))
    else:
        mat73(folder, list(enumerate(names(folder))), np.zeros((4, 2)))
    path = folder / "block007.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    for _ in range(3):
        assert "to be whole" in recorder.trouble()
    path.write_bytes(whole)
    recorder.trouble()
    assert recorder.trouble() == ""


def test_a_file_of_another_session_is_refused(folder, block):
    recorder = waiting(folder, block)
    mat5(folder, ["block007_0000_00000000.png"], np.zeros((1, 2)))
    recorder.trouble()
    with pytest.raises(RigError, match="not of this block"):
        recorder.trouble()


def test_images_of_another_session_are_refused(folder, block, images):
    waiting(folder, block)
    other = Block.of(255 - images, roles=Role.CONTROL).at(7, "t")
    with pytest.raises(DataError, match="another session"):
        waiting(folder, other)


def test_the_same_block_again_is_no_harm(folder, block):
    waiting(folder, block)
    mat5(folder, names(folder), np.ones((4, 2)))
    again = waiting(folder, block)
    again.trouble()
    assert again.spike_counts(next(block.cues()), WINDOW_S).counts.tolist() == [1, 1]


@pytest.mark.parametrize("responses", [np.zeros((4, 3)), np.zeros((3, 2))])
def test_other_shapes_are_refused(folder, block, responses):
    recorder = waiting(folder, block)
    mat5(folder, names(folder), responses)
    recorder.trouble()
    with pytest.raises(RigError, match="another shape"):
        recorder.trouble()


def test_negative_responses_are_no_counts(folder, block):
    recorder = waiting(folder, block)
    mat5(folder, names(folder), np.full((4, 2), -1.0))
    recorder.trouble()
    with pytest.raises(RigError, match="offset"):
        recorder.spike_counts(next(block.cues()), WINDOW_S)


def test_sites_must_be_named(folder):
    with pytest.raises(SettingsError, match="names of its channels"):
        waiting(folder, sites=())


# --- as XDREAM and its rigs do -----------------------------------------------------------------


def answered(recorder):
    recorder.trouble()
    return recorder.trouble()


def test_stimuli_of_the_rigs_own_are_left_out(folder, block):
    recorder = waiting(folder, block)
    a, b, c, d = names(folder)
    ids = [r"N:\Stim\ref_001.png", a, b, r"N:\Stim\ref_002.jpg", c, d]
    mat5(folder, ids, np.arange(12.0).reshape(6, 2))
    assert answered(recorder) == ""
    cues = list(block.cues())
    assert [recorder.spike_counts(cue, WINDOW_S).counts.tolist() for cue in cues[:4]] == [
        [2, 3], [4, 5], [8, 9], [10, 11]
    ]  # fmt: skip


def test_nothing_but_stimuli_of_the_rigs_own_is_no_answer(folder, block):
    recorder = waiting(folder, block)
    mat5(folder, ["ref_001.png"], np.zeros((1, 2)))
    recorder.trouble()
    with pytest.raises(RigError, match="not of this block"):
        recorder.trouble()


def test_a_blocks_images_are_removed_when_it_is_over(folder, block):
    recorder = waiting(folder, block)
    mat5(folder, names(folder), np.zeros((4, 2)))
    recorder.trouble()
    assert len(names(folder)) == 4
    assert recorder.trouble() == ""
    assert names(folder) == []
    assert (folder / "block007.mat").exists()


def test_images_that_the_rig_holds_open_are_removed_with_the_next_block(folder, block, monkeypatch):
    recorder = waiting(folder, block)
    held = names(folder)
    mat5(folder, held, np.zeros((4, 2)))
    with monkeypatch.context() as held_open:
        held_open.setattr(shared_folder, "remove_images", lambda folder, names: list(names))
        assert answered(recorder) == ""
    assert names(folder) == held
    recorder.stage(block.at(8, "t"))
    assert names(folder) == []
    assert len(list(folder.glob("block008_*.png"))) == 4


def test_images_may_be_bmp(folder, block):
    recorder = waiting(folder, block, images="bmp")
    found = sorted(path.name for path in folder.glob("block007_*"))
    assert [name[-4:] for name in found] == [".bmp"] * 4
    for name, image in zip(found, block.images, strict=True):
        assert (np.asarray(Image.open(folder / name)) == image).all()
    mat5(folder, [f"C:\\x\\{name}" for name in found], np.ones((4, 2)))
    assert answered(recorder) == ""


@pytest.mark.parametrize("indexed", [True, False])
def test_xdreams_own_h5(folder, block, indexed):
    h5py = pytest.importorskip("h5py")
    recorder = waiting(folder, block)
    with h5py.File(folder / "block007.h5", "w") as file:
        file["scores"] = np.arange(8.0).reshape(4, 2)
        if indexed:
            file["indices"] = [3, 0, 1, 2]
    assert answered(recorder) == ""
    a, _, _, d = ([2, 3], [4, 5], [6, 7], [0, 1]) if indexed else ([0, 1], [2, 3], [4, 5], [6, 7])
    cues = list(block.cues())
    assert recorder.spike_counts(cues[0], WINDOW_S).counts.tolist() == a
    assert recorder.spike_counts(cues[3], WINDOW_S).counts.tolist() == d


@pytest.mark.parametrize(("indices", "problem"), [([1, 2, 3, 4], "from 0"), (None, "indices")])
def test_scores_that_cannot_be_matched_are_refused(folder, block, indices, problem):
    h5py = pytest.importorskip("h5py")
    recorder = waiting(folder, block)
    with h5py.File(folder / "block007.h5", "w") as file:
        file["scores"] = np.zeros((4 if indices else 3, 2))
        if indices:
            file["indices"] = indices
    recorder.trouble()
    with pytest.raises(RigError, match=problem):
        recorder.trouble()


# --- MATLAB's strings --------------------------------------------------------------------------

STRING_ARRAY_V7 = """
TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybS4gQ3JlYXRlZCBvbjogMjAyNi0xMS0yOCAyMTo1Nzo1OSBVVEMgYnkgbWF0
aW8gd2l0aCBzY2lweSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAeAQAAAAAAAAABSU0PAAAAVQAAAHic42NgYJgA
xGxAzAHEggwQwAjEXEBcXJKZW5pTWuzpAhNnYfB19g9mhOopLinKzEtnYOADsj2QzOGFmsMK5bNBzWSEioP4EhDmXSYkORgG
ANzuCjgPAAAAOQAAAHic42NgYCgAYjYg5oDSIMAK5TMBMTMQMwIxNxCXuJblZ6emBKUWF4DVcQKxAQMMfLAnlgYAGuQMcA8A
AAAKAQAAeJzVUrtuwkAQnDsuCAoc0eYjUDrcIyGlQBQUobMchBACGcvQ5G8oKVOm5JMoKdn17cWHsaFKwZ5Gc7ue2Xs5ABAa
oEncIrRh40VyxWwsc2jJoT5GnAeEc6Pw6wq/g62b/JsSzWgwnrg+P16frujVH5tcy3mHMFyu559ZnKbzLIrEn3r+Yj2bN0v7
YP0J9ec+lvRaakbmIWHKaxL2hAPhV8C6OPnGdpctkwVqQ1fUyvdVF6pi/sjDEXi8R3H+V6n77xZ4PfnOU1zfh8+u/ub14fjC
GhvMsMI7jT6inHlEiEujRyskWJDHzeweDqh/V43bdw1x/38Erv/H//R3HuzX6eD5n+m8F4NNJno=
"""
"""`stimulusID = ["block007_0000_aaaaaaaa.png"; "b.png"]`, written by the package mat-io, 1.0.2."""


def test_a_string_array_of_matlab_7_is_an_error_at_once(folder, block):
    pytest.importorskip("scipy")
    recorder = waiting(folder, block)
    (folder / "block007.mat").write_bytes(base64.b64decode(STRING_ARRAY_V7))
    recorder.trouble()
    with pytest.raises(RigError, match="cellstr"):
        recorder.trouble()


@pytest.mark.parametrize("in_a_cell", [False, True])
def test_a_string_array_of_matlab_7_3_is_an_error_at_once(folder, block, in_a_cell):
    """As MATLAB writes it: six numbers that refer to #subsystem#, and the class in an attribute."""
    h5py = pytest.importorskip("h5py")
    recorder = waiting(folder, block)
    with h5py.File(folder / "block007.mat", "w", userblock_size=512) as file:
        place = "#refs#/a" if in_a_cell else "stimulusID"
        made = file.create_dataset(place, data=np.array([[0xDD000000, 2, 1, 1, 1, 1]], np.uint32))
        made.attrs["MATLAB_class"] = np.bytes_("string")
        made.attrs["MATLAB_object_decode"] = np.int32(3)
        if in_a_cell:
            file["stimulusID"] = np.array([[made.ref]], h5py.ref_dtype)
            file["stimulusID"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["tEvokedResp"] = np.zeros((2, 1))
    recorder.trouble()
    with pytest.raises(RigError, match="cellstr"):
        recorder.trouble()


def test_a_character_matrix_of_matlab_7_3(folder, block):
    h5py = pytest.importorskip("h5py")
    recorder = waiting(folder, block)
    letters = np.array([[ord(letter) for letter in name] for name in names(folder)], np.uint16)
    with h5py.File(folder / "block007.mat", "w", userblock_size=512) as file:
        file["stimulusID"] = letters.T
        file["stimulusID"].attrs["MATLAB_class"] = np.bytes_("char")
        file["tEvokedResp"] = np.arange(8.0).reshape(2, 4).T
    assert answered(recorder) == ""
    assert recorder.spike_counts(next(block.cues()), WINDOW_S).counts.tolist() == [0, 4]


def test_a_character_matrix_of_matlab_7(folder, block):
    io = pytest.importorskip("scipy.io")
    recorder = waiting(folder, block)
    longest = max(map(len, names(folder))) + 3
    io.savemat(
        folder / "block007.mat",
        {"stimulusID": np.array([name.ljust(longest) for name in names(folder)]),
         "tEvokedResp": np.arange(8.0).reshape(4, 2)},
    )  # fmt: skip
    assert answered(recorder) == ""
    assert recorder.spike_counts(next(block.cues()), WINDOW_S).counts.tolist() == [0, 1]


def test_a_file_that_stays_unreadable_is_an_error_and_no_hour_of_waiting(
    folder, block, monkeypatch
):
    recorder = waiting(folder, block)
    (folder / "block007.mat").write_bytes(b"not a .mat file at all" * 100)
    recorder.trouble()
    assert "to be whole" in recorder.trouble()
    monkeypatch.setattr(shared_folder, "UNCHANGED_S", -1.0)
    with pytest.raises(RigError, match="cannot be read"):
        recorder.trouble()


# --- the emulated rig --------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["mat", "h5", "scores"])
def test_the_emulated_rig_says_what_the_simulated_neurons_say(folder, random, written):
    images = random.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    block = Block.of(images, roles=Role.CONTROL, order=[0, 1, 2, 2, 0, 1]).at(7, "t")
    pytest.importorskip("scipy" if written == "mat" else "h5py")
    neurons = PluginChoice(
        name="simulated",
        options={"subject": {"name": "gabor_energy", "options": {"n_sites": 3}}},
    )
    settings = SharedFolderEmulatorSettings(
        folder=folder, neurons=neurons, session_id="s", seed=3, repetitions=2, format=written,
        settle_s=0.2,
    )  # fmt: skip
    emulator = SharedFolderEmulator(settings)
    choice = PluginChoice.model_validate(emulator.announcement()["acquisition"])
    recorder = plugins.create("stimloop.acquisitions", choice, SESSION)
    simulated = plugins.create("stimloop.acquisitions", neurons, SESSION)
    stop = threading.Event()
    thread = threading.Thread(target=emulator.run, args=(stop,))
    thread.start()
    try:
        check_acquisition(recorder, block)
        simulated.stage(block)
        for cue in block.cues():
            simulated.mark(cue, 0, 1)
        assert counts(recorder, block) == counts(simulated, block)
    finally:
        stop.set()
        thread.join()
        emulator.close()
        recorder.close()


def test_what_we_write_reads_back(folder, block):
    recorder = waiting(folder, block)
    write_mat5(folder / "block007.mat", Answer(tuple(names(folder)), np.ones((4, 2))))
    recorder.trouble()
    assert recorder.trouble() == ""
