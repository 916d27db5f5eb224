"""What a study says of the data sets that it trains on."""

import torch

from joulelab.kinds.training.data_sets import DataSets
from joulelab.kinds.training.spec import TrainingKeys
from joulelab.learning.images import Images, Split


def test_what_is_to_be_said_of_a_data_set_is_said_once_and_kept():
    split = Split(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    data = DataSets(TrainingKeys.model_construct(), 0, None)
    notes = ("it has no test part: accuracy is computed on val", "train: left out: 2 hidden (.a)")
    data.add("folder:birds", Images("folder:birds", split, split, 1, "birds", notes=notes))
    data.add("digits", Images("digits", split, split, 1, "scikit-learn"))
    assert data.notes == [f"folder:birds: {'; '.join(notes)}"]
    assert [one["notes"] for one in data.described] == [list(notes), []]
