"""Tables of corpora, read as they are."""

from __future__ import annotations

import pytest

from msakit.core.errors import ConfigError
from msakit.extraction.manifest import read_manifest


def test_mmsa_fets_table(tmp_path):
    (tmp_path / "Raw" / "v1").mkdir(parents=True)
    (tmp_path / "Raw" / "v1" / "0002.avi").touch()
    table = tmp_path / "label.csv"
    table.write_text(
        "video_id,clip_id,text,label,annotation,mode\n"
        "v1,0001,fine,0.4,Positive,train\nv1,0002,dull,-1,Negative,valid\n"
    )
    first, second = read_manifest(table)
    assert (first.clip.clip_id, first.clip.path) == ("v1$_$0001", tmp_path / "Raw/v1/0001.mp4")
    assert second.clip.path == tmp_path / "Raw/v1/0002.avi"
    assert (first.clip.text, first.label, first.split) == ("fine", 0.4, "train")
    assert (second.label, second.split) == (-1.0, "valid")
    assert first.extra == {"annotation": "Positive", "video": "v1"}


def test_melds_table_beside_a_folder_of_clips(tmp_path):
    (tmp_path / "dev_splits").mkdir()
    (tmp_path / "dev_splits" / "dia0_utt1.mp4").touch()
    table = tmp_path / "dev_sent_emo.csv"
    table.write_text(
        "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,StartTime\n"
        '1,"Oh, no!",Ann,sadness,negative,0,1,"00:16:16,059"\n'
    )
    [row] = read_manifest(table)
    assert (row.clip.clip_id, row.clip.path) == ("valid-dia0_utt1", tmp_path / "dev_splits/dia0_utt1.mp4")
    assert (row.clip.text, row.speaker, row.label_name, row.split) == ("Oh, no!", "Ann", "sadness", "valid")
    assert (row.dialogue, row.utterance) == ("valid-0", 1)
    assert (row.clip.start_s, row.extra["StartTime"]) == (None, "00:16:16,059")


@pytest.mark.parametrize(
    ("written", "seconds"), [("62", 62.0), ("62.5", 62.5), ("1:02", 62.0), ("00:01:02,500", 62.5)]
)
def test_times_are_seconds_or_a_clocks(tmp_path, written, seconds):
    table = tmp_path / "m.csv"
    table.write_text(f'id,path,start_s,end_s\na,a.mp4,"{written}",\n')
    assert read_manifest(table)[0].clip.start_s == seconds


def test_a_column_that_extraction_fills_is_refused_before_any_work(tmp_path):
    table = tmp_path / "m.csv"
    table.write_text("id,path,content\na,a.mp4,x\n")
    with pytest.raises(ConfigError, match="'content' is filled by extraction"):
        read_manifest(table)
