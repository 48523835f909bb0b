from protocols.seeds import random_stream


def test_a_path_names_one_stream():
    assert random_stream(1, "a", 2).random() == random_stream(1, "a", 2).random()


def test_different_paths_name_different_streams():
    draws = {
        random_stream(*path).random()
        for path in [(1, "a"), (2, "a"), (1, "b"), (1, "a", 0), (1, "a", "0"), (1, "a0")]
    }
    assert len(draws) == 6
