"""TRL as an oracle of imitation (SFT, DFT) and of RLOO's loss."""

import pytest
import torch
import trl

from journeyman.objectives import nll, no_clip, on_policy, probability, sequence_sum, surrogate, token_mean
from tests.objectives.oracle import Case, config, rows, same
from tests.policies.conftest import byte_tokenizer

# What TRL and its dependencies warn of on import and construction is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(("kind", "objective"), [
    ("nll", nll(token_mean)), ("dft", surrogate(no_clip, probability, token_mean)),
])  # fmt: skip
def test_sft_trainer(tmp_path, kind, objective):
    case = Case()
    case.advantage = [1.0] * 4
    args = config(trl.SFTConfig, tmp_path, loss_type=kind)
    trainer = trl.SFTTrainer(case.model, args=args, train_dataset=rows(text=["ab"] * 4), processing_class=byte_tokenizer())
    case.model.eval()
    attention, answers = case.mask()
    inputs = {"input_ids": case.ids(), "attention_mask": attention, "labels": case.ids().masked_fill(answers == 0, -100)}
    same(case.ours(objective), case.gradient(trainer.compute_loss(case.model, inputs)))


def rloo(case, folder, epsilon):
    """TRL's RLOO trainer, and the sums of log-probabilities of answers (4) as it takes them: in float32, whose rounding a ratio of
    whole answers would show (1.7e-6 here)."""
    args = config(trl.RLOOConfig, folder, num_generations=4, beta=0.0, epsilon=epsilon)
    trainer = trl.RLOOTrainer(
        case.model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=args,
        train_dataset=rows(prompt=["ab"] * 4), processing_class=byte_tokenizer(),
    )  # fmt: skip
    attention, answers = case.mask()
    with torch.no_grad():
        own, *_ = trainer._get_per_token_logps_and_entropies(case.model, case.ids(), attention, answers[:, 3:].shape[1])
    return trainer, (own * answers[:, 3:]).sum(1)


def rloo_gradient(case, trainer, old):
    attention, answers = case.mask()
    inputs = {
        "prompt_ids": case.ids()[:, :3], "prompt_mask": attention[:, :3], "completion_ids": case.ids()[:, 3:],
        "completion_mask": answers[:, 3:], "advantages": torch.tensor(case.advantage, dtype=torch.float64), "old_logps": old,
    }  # fmt: skip
    return case.theirs(trainer, inputs)


def test_rloo_trainer(tmp_path):
    """On the policy that sampled TRL's loss is REINFORCE, as in the paper."""
    case = Case()
    trainer, own = rloo(case, tmp_path, 0.2)
    torch.testing.assert_close(own.double(), case.sums(case.own), rtol=0, atol=1e-5)
    same(case.ours(surrogate(no_clip, on_policy, sequence_sum)), rloo_gradient(case, trainer, own))


def test_rloo_trainer_off_policy(tmp_path):
    """Off it TRL clips the ratio of whole answers, which the paper does not have: the difference is a weight for each answer, its
    ratio, or 0 where it is clipped."""
    case, epsilon = Case(), 0.2
    trainer, own = rloo(case, tmp_path, epsilon)
    old = case.sums(case.old)
    ratio, advantage = (own.double() - old).exp(), torch.tensor(case.advantage, dtype=torch.float64)
    clipped = (advantage > 0) & (ratio > 1 + epsilon) | (advantage < 0) & (ratio < 1 - epsilon)
    assert 0 < clipped.sum() < len(clipped), "the example must have answers that are clipped and such that are not"
    weight = torch.where(clipped, 0.0, ratio)
    same(case.ours(surrogate(no_clip, on_policy, sequence_sum), weight=weight), rloo_gradient(case, trainer, old))
