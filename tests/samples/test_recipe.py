"""Features are compared by how they were made."""

from __future__ import annotations

import pytest

from msakit.core.errors import DataError
from msakit.samples.recipe import check_recipe

TRAINED = {
    "extractor": "prosody@1",
    "frame_shift_s": 0.05,
    "parameters": {"frame_shift_s": 0.05, "num_mfcc": 13, "libraries": {"librosa": "0.11"}},
    "weights": ["ab" * 32],
}


def check(present, *, allow=False) -> list[str]:
    return check_recipe("audio", TRAINED, {**TRAINED, **present}, what="'d' in s", allow=allow)


def test_the_same_recipe_passes_in_silence():
    assert check({}) == []
    assert check_recipe("audio", {}, TRAINED, what="a run that recorded nothing", allow=False) == []


@pytest.mark.parametrize(
    ("present", "told"),
    [
        ({"frame_shift_s": 0.1}, r"frame_shift_s: 0\.1 here, 0\.05 in the run"),
        ({"parameters": {**TRAINED["parameters"], "num_mfcc": 20}}, "num_mfcc: 20 here, 13 in the run"),
        ({"extractor": "prosody@2"}, "extractor: prosody@2 here, prosody@1 in the run"),
        ({"weights": ["cd" * 32]}, "weights: cdcdcdcdcdcd here, abababababab in the run"),
    ],
)
def test_what_differs_is_named_with_the_command_that_mends_it(present, told):
    with pytest.raises(DataError, match=told) as raised:
        check(present)
    assert "--audio prosody --set audio.frame_shift_s=0.05 --set audio.num_mfcc=13\n" in raised.value.hint
    assert check(present, allow=True)


def test_other_libraries_are_a_warning():
    parameters = {**TRAINED["parameters"], "libraries": {"librosa": "0.12"}}
    assert check({"parameters": parameters}) == ["audio: made with librosa 0.12, the run's with 0.11"]


def test_imported_features_may_come_from_another_corpus():
    trained = {"extractor": "imported", "frame_shift_s": None, "parameters": {"dataset": "mosi"}}
    other = {**trained, "parameters": {"dataset": "mosei"}}
    assert check_recipe("audio", trained, other, what="'mosei' in s", allow=False) == []
    with pytest.raises(DataError) as raised:
        check_recipe("audio", trained, {**other, "extractor": "covarep"}, what="'x' in s", allow=False)
    assert "msakit extract" not in raised.value.hint
