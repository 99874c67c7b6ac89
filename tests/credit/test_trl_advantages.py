"""TRL as an oracle of advantages: its trainers score a group of sampled answers, and ours get the same rewards."""

import numpy as np
import pytest
import torch
import trl

from journeyman.credit import group_mean, group_zscore, leave_one_out
from tests.credit.groups import group_of, render
from tests.objectives.oracle import config, rows
from tests.policies.conftest import byte_tokenizer, small

# What TRL and its dependencies warn of on import and construction is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

REWARDS = [1.0, 0.0, 0.25, 1.0]


# TRL divides by std + 1e-4, verl by std + 1e-6, and no paper names a number: it is a field.
@pytest.mark.parametrize(("credit", "trainer", "kind", "more"), [
    (group_zscore(eps=1e-4), trl.GRPOTrainer, trl.GRPOConfig, {"scale_rewards": "group"}),
    (group_mean(), trl.GRPOTrainer, trl.GRPOConfig, {"scale_rewards": "none"}),
    (leave_one_out(), trl.RLOOTrainer, trl.RLOOConfig, {"normalize_advantages": False}),
])  # fmt: skip
def test_advantages(tmp_path, credit, trainer, kind, more):
    torch.set_num_threads(1)
    args = config(kind, tmp_path, num_generations=4, beta=0.0, max_completion_length=3, **more)
    one = trainer(
        small("qwen3"), reward_funcs=lambda completions, **_: REWARDS, args=args,
        train_dataset=rows(prompt=["ab"] * 4), processing_class=byte_tokenizer(),
    )  # fmt: skip
    expected = one._generate_and_score_completions([{"prompt": "ab"}] * 4)["advantages"]
    found = [max(x.advantage, key=abs) for x in credit(group_of(REWARDS), render)]
    assert np.ptp(found) > 0.9
    torch.testing.assert_close(torch.tensor(found, dtype=expected.dtype), expected, rtol=0, atol=1e-6)  # theirs in float32
