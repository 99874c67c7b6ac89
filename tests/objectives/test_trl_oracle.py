"""TRL as an oracle: its trainers' own loss code and ours, on one tiny model and the same tokens, give the same gradients."""

from dataclasses import replace

import pytest
import torch
import trl

from journeyman.batch import collate
from journeyman.learners.packing import totals_of
from journeyman.objectives import (
    cap,
    dpo,
    fixed_length,
    ipo,
    k3,
    kl_penalty,
    over_old,
    plus,
    ppo_clip,
    sequence_mean,
    sequence_ratio,
    soft_gate,
    surrogate,
    token_mean,
)  # fmt: skip
from journeyman.types import Lesson
from tests.objectives.batches import padded
from tests.policies.conftest import byte_tokenizer, small

# What TRL and its dependencies warn of on import and construction is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

PROMPT = [97, 98, 99]
ANSWERS = [[100, 101, 102, 256], [103, 256], [104, 105, 256], [106, 107, 108, 109, 256]]  # preferred, then rejected, twice
PAD = 256


def near(rows, seed, spread=0.4):
    """Values near these, a fixed draw."""
    g = torch.Generator().manual_seed(seed)
    return [r + spread * (2 * torch.rand(r.shape, generator=g, dtype=r.dtype) - 1) for r in rows]


class Case:
    """A float64 model, four answers to one prompt, and old and reference log-probabilities near the model's own."""

    def __init__(self):
        torch.set_num_threads(1)
        self.model = small("qwen3").double().eval()
        with torch.no_grad():
            own = [self.logp()[i, len(PROMPT) : len(PROMPT) + len(a)] for i, a in enumerate(ANSWERS)]
        self.old, self.ref = near(own, 1), near(own, 2)
        self.advantage = [1.0, -0.5, 0.7, -1.2]

    def ids(self):
        full = torch.full((4, len(PROMPT) + max(map(len, ANSWERS))), PAD)
        for i, a in enumerate(ANSWERS):
            full[i, : len(PROMPT) + len(a)] = torch.tensor([*PROMPT, *a])
        return full

    def mask(self):
        """The attention mask, the mask of answers (4, T)."""
        length = torch.tensor([len(PROMPT) + len(a) for a in ANSWERS])[:, None]
        at = torch.arange(self.ids().shape[1])[None]
        return (at < length).long(), ((at < length) & (at >= len(PROMPT))).long()

    def logp(self):
        each = self.model(input_ids=self.ids(), attention_mask=self.mask()[0]).logits[:, :-1].log_softmax(-1)
        return torch.nn.functional.pad(each.gather(2, self.ids()[:, 1:, None])[:, :, 0], (1, 0))

    def sums(self, rows):
        return torch.stack([r.sum() for r in rows])

    def ours(self, objective, pair=None):
        """The gradient of our loss by weight."""
        lessons = []
        for i, a in enumerate(ANSWERS):
            sign = (1.0 if i % 2 == 0 else -1.0) if pair else self.advantage[i]
            train = (False,) * 3 + (True,) * len(a)
            own = Lesson((*PROMPT, *a), train, tuple(sign if t else 0.0 for t in train), group="g", attempt=str(i))
            lessons.append(replace(own, pair=pair(i)) if pair else own)
        batch = collate(lessons, totals_of(lessons))
        zeros = torch.zeros(3, dtype=torch.float64)
        streams = {
            k: padded([torch.cat([zeros, r]).tolist() for r in v]) for k, v in (("old_logp", self.old), ("ref_logp", self.ref))
        }
        exact = {"weight": batch.weight.double(), "advantage": padded([x.advantage for x in lessons])}
        return self.gradient(objective(replace(batch, out={"logp": self.logp()}, streams=streams, **exact))[0])

    def gradient(self, loss):
        weights = [p for p in self.model.parameters() if p.requires_grad]
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])

    def theirs(self, trainer, inputs, *more):
        return self.gradient(trainer._compute_loss(self.model, inputs, *more))


def config(kind, folder, **more):
    return kind(output_dir=str(folder), report_to=[], use_cpu=True, bf16=False, fp16=False, per_device_train_batch_size=4,
                gradient_checkpointing=False, disable_tqdm=True, **more)  # fmt: skip


def rows(**columns):
    from datasets import Dataset

    return Dataset.from_dict(columns)


def same(found, expected, tolerance=1e-6):
    assert expected.abs().max() > 1e-3, "the example must have a gradient"
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * expected.abs().max().item())


def halves(x):
    """Preferred rows, then rejected ones, as TRL batches pairs."""
    return torch.cat([x[0::2], x[1::2]])


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
}


@pytest.mark.parametrize("name", GRPO)
def test_grpo_trainer(tmp_path, name):
    case, (objective, more) = Case(), GRPO[name]
    beta = more.get("beta", 0.0)  # set afterwards, or the trainer would look for a reference model on disk
    args = config(trl.GRPOConfig, tmp_path, num_generations=4, **{**more, "beta": 0.0})
    trainer = trl.GRPOTrainer(
        case.model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=args,
        train_dataset=rows(prompt=["ab"] * 4), processing_class=byte_tokenizer(),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps, trainer.beta = 1, beta
    attention, answers = case.mask()
    inputs = {
        "prompt_ids": case.ids()[:, :3], "prompt_mask": attention[:, :3], "completion_ids": case.ids()[:, 3:],
        "completion_mask": answers[:, 3:], "advantages": torch.tensor(case.advantage, dtype=torch.float64),
        "old_per_token_logps": padded([r.tolist() for r in case.old]), "num_items_in_batch": answers.sum(),
        "ref_per_token_logps": padded([r.tolist() for r in case.ref]),
    }  # fmt: skip
    same(case.ours(objective), case.theirs(trainer, inputs))
