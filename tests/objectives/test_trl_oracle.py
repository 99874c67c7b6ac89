"""TRL as an oracle: its trainers' own loss code and ours, on one tiny model and the same tokens, give the same gradients."""

import pytest
import torch
import trl

from journeyman.objectives import (
    cap,
    dpo,
    entropy_bonus,
    fixed_length,
    importance_kl,
    ipo,
    k3,
    kl_penalty,
    over_old,
    plus,
    ppo_clip,
    sequence_mean,
    sequence_ratio,
    sequence_sum,
    soft_gate,
    surrogate,
    token_mean,
    truncated,
)  # fmt: skip
from tests.objectives.batches import padded
from tests.objectives.oracle import Case, config, halves, rows, same
from tests.policies.conftest import byte_tokenizer, small

# What TRL and its dependencies warn of on import and construction is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(("kind", "more", "objective"), [
    ("sigmoid", {}, dpo(0.1)), ("ipo", {}, ipo(0.1, per_token=True)),
])  # fmt: skip
def test_dpo_trainer(tmp_path, kind, more, objective):
    case = Case()
    data = rows(prompt=["ab"] * 4, chosen=["c"] * 4, rejected=["d"] * 4)
    args = config(trl.DPOConfig, tmp_path, loss_type=[kind], beta=0.1, **more)
    trainer = trl.DPOTrainer(case.model, ref_model=small("qwen3"), args=args, train_dataset=data, processing_class=byte_tokenizer())
    trainer.precompute_ref_logps = True
    attention, answers = map(halves, case.mask())
    ref = case.sums(case.ref)
    inputs = {"input_ids": halves(case.ids()), "attention_mask": attention, "completion_mask": answers,
              "ref_chosen_logps": ref[0::2], "ref_rejected_logps": ref[1::2]}  # fmt: skip
    same(case.ours(objective, lambda i: f"p{i // 2}"), case.theirs(trainer, inputs, False))


GRPO = {
    "grpo": (surrogate(ppo_clip(), over_old, sequence_mean), {"loss_type": "grpo"}),
    "clip higher": (surrogate(ppo_clip(0.2, 0.28), over_old, token_mean), {"loss_type": "bnpo", "epsilon_high": 0.28}),
    "bnpo": (surrogate(ppo_clip(), over_old, token_mean), {"loss_type": "bnpo"}),
    "dr_grpo": (surrogate(ppo_clip(), over_old, fixed_length(16)), {"loss_type": "dr_grpo", "max_completion_length": 16}),
    "dapo": (surrogate(ppo_clip(), over_old, token_mean), {"loss_type": "dapo"}),
    "cispo": (surrogate(cap(1.28), over_old, token_mean), {"loss_type": "cispo", "epsilon_high": 1.28}),
    # TRL multiplies the penalty by the ratio unless told not to (DeepSeek-V3.2, arXiv 2512.02556); the paper of GRPO does not.
    "grpo with k3": (
        plus(surrogate(ppo_clip(), over_old, sequence_mean), kl_penalty(0.04, k3, sequence_mean)),
        {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False},
    ),
    "sapo": (surrogate(soft_gate(), over_old, sequence_mean), {"loss_type": "sapo"}),
    "gspo": (
        surrogate(ppo_clip(0.05, 0.1), sequence_ratio(), sequence_mean),
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.05, "epsilon_high": 0.1},
    ),
    "luspo": (
        surrogate(ppo_clip(0.05, 0.1), sequence_ratio(), sequence_sum),
        {"loss_type": "luspo", "importance_sampling_level": "sequence", "epsilon": 0.05, "epsilon_high": 0.1},
    ),
    "dual clip": (surrogate(ppo_clip(dual=1.25), over_old, sequence_mean), {"loss_type": "grpo", "delta": 1.25}),
    "grpo with importance_kl": (
        plus(surrogate(ppo_clip(), over_old, sequence_mean), importance_kl(0.5, over_old, sequence_mean)),
        {"loss_type": "grpo", "beta": 0.5, "use_bias_correction_kl": True},
    ),
    "entropy bonus": (
        plus(surrogate(ppo_clip(), over_old, token_mean), entropy_bonus(0.5, token_mean)),
        {"loss_type": "bnpo", "entropy_coef": 0.5},
    ),
}
CORRECTED = surrogate(ppo_clip(), over_old, sequence_mean, correction=truncated(1.1))


def grpo_gradient(case, folder, more, ratio=None):
    """The gradient of TRL's GRPO trainer; ``ratio`` (4, T) is its importance weight for a sampler that is not the learner."""
    beta = more.get("beta", 0.0)  # set afterwards, or the trainer would look for a reference model on disk
    args = config(trl.GRPOConfig, folder, num_generations=4, **{**more, "beta": 0.0})
    trainer = trl.GRPOTrainer(
        case.model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=args,
        train_dataset=rows(prompt=["ab"] * 4), processing_class=byte_tokenizer(),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps, trainer.beta = 1, beta
    trainer.use_vllm = ratio is not None  # afterwards too, or the trainer would start the sampler
    attention, answers = case.mask()
    inputs = {
        "prompt_ids": case.ids()[:, :3], "prompt_mask": attention[:, :3], "completion_ids": case.ids()[:, 3:],
        "completion_mask": answers[:, 3:], "advantages": torch.tensor(case.advantage, dtype=torch.float64),
        "old_per_token_logps": padded([r.tolist() for r in case.old]), "num_items_in_batch": answers.sum(),
        "ref_per_token_logps": padded([r.tolist() for r in case.ref]), "importance_sampling_ratio": ratio,
    }  # fmt: skip
    return case.theirs(trainer, inputs)


@pytest.mark.parametrize("name", GRPO)
def test_grpo_trainer(tmp_path, name):
    case, (objective, more) = Case(), GRPO[name]
    same(case.ours(objective), grpo_gradient(case, tmp_path, more))


def test_grpo_trainer_with_truncated_importance_weights(tmp_path):
    """TRL's mode "token_truncate": it multiplies the clipped loss, as ``correction`` does. The weight is made here as TRL makes it
    while it generates, which needs the sampler."""
    case = Case()
    ratio = padded([(a - b).exp().tolist() for a, b in zip(case.old, case.behaviour, strict=True)]).clamp(max=1.1)
    found = case.ours(CORRECTED)
    same(found, grpo_gradient(case, tmp_path, {"loss_type": "grpo"}, ratio))
    assert (found - case.ours(GRPO["grpo"][0])).abs().max() > 0.01 * found.abs().max()
