"""TRL as an oracle of the losses on preferred, rejected and labelled answers. Where its formula is not the paper's, ours is the
paper's, and the test shows the whole difference."""

import pytest
import torch
import trl

from journeyman.objectives import chosen_nll, dpo, ipo, kto, orpo, plus, simpo, step_dpo, weighted
from tests.objectives.oracle import ANSWERS, PROMPT, Case, config, halves, rows, same
from tests.policies.conftest import byte_tokenizer, small

# What TRL and its dependencies warn of on import and construction is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

EVEN = [[100, 101, 256], [103, 104, 256], [104, 105, 256], [106, 107, 256]]  # answers of one length
SMOOTHING = 0.2


def pair(i):
    return f"p{i // 2}"


def dpo_gradient(case, folder, kinds, **more):
    """The gradient of TRL's DPO trainer."""
    data = rows(prompt=["ab"] * 4, chosen=["c"] * 4, rejected=["d"] * 4)
    args = config(trl.DPOConfig, folder, loss_type=kinds, **{"beta": 0.1, **more})
    trainer = trl.DPOTrainer(case.model, ref_model=small("qwen3"), args=args, train_dataset=data, processing_class=byte_tokenizer())
    trainer.precompute_ref_logps = True
    attention, answers = map(halves, case.mask())
    ref = case.sums(case.ref)
    inputs = {"input_ids": halves(case.ids()), "attention_mask": attention, "completion_mask": answers,
              "ref_chosen_logps": ref[0::2], "ref_rejected_logps": ref[1::2]}  # fmt: skip
    return case.theirs(trainer, inputs, False)


def without_reference(case, name, folder, **more):
    """The gradient of TRL's trainers of pairs that read no reference (``name`` "cpo" or "orpo")."""
    if name == "cpo":
        from trl.experimental.cpo import CPOConfig as Config
        from trl.experimental.cpo import CPOTrainer as Trainer
    else:
        from trl.experimental.orpo import ORPOConfig as Config
        from trl.experimental.orpo import ORPOTrainer as Trainer
    data = rows(prompt=["ab"] * 4, chosen=["c"] * 4, rejected=["d"] * 4)
    args = config(Config, folder, max_length=64, **more)
    trainer = Trainer(model=case.model, args=args, train_dataset=data, processing_class=byte_tokenizer())
    attention, answers = case.mask()
    labels = case.ids().masked_fill(answers == 0, -100)
    parts = {"input_ids": case.ids(), "attention_mask": attention, "labels": labels}
    inputs = {f"{side}_{k}": v[at::2] for at, side in enumerate(("chosen", "rejected")) for k, v in parts.items()}
    case.model.eval()
    return case.gradient(trainer.get_batch_loss_metrics(case.model, inputs)[0])


def test_a_smoothed_dpo_is_aot_over_one_pair(tmp_path):
    """TRL's sigmoid loss reads no label_smoothing. Its unpaired AOT does: it sorts the log-ratios of either side, and where they
    are in order already it is cDPO."""
    case = Case()
    ratio = case.sums(case.own) - case.sums(case.ref)
    assert (ratio[0] < ratio[2]) == (ratio[1] < ratio[3]), "the example's pairs must be in one order on either side"
    expected = dpo_gradient(case, tmp_path, ["aot_unpaired"], label_smoothing=SMOOTHING)
    same(case.ours(dpo(0.1, smoothing=SMOOTHING), pair), expected)
    constant = [torch.full_like(r, SMOOTHING) for r in case.own]
    same(case.ours(step_dpo(0.1), pair, smoothing=constant), expected)


def test_dpo_on_the_old_policy(tmp_path):
    """``reference="old_logp"`` is TRL's loss with those as the reference."""
    case = Case()
    found = case.ours(dpo(0.1, reference="old_logp"), pair)
    case.ref = case.old
    same(found, dpo_gradient(case, tmp_path, ["sigmoid"]))


def test_ipo_is_of_sums_in_the_paper_and_of_means_in_trl(tmp_path):
    """(h - 1 / (2 tau))^2 = L^2 (h / L - 1 / (2 tau L))^2: for answers of one length L ours is L^2 times TRL's at tau L."""
    case, length = Case(answers=EVEN), len(EVEN[0])
    same(case.ours(ipo(0.1), pair), length**2 * dpo_gradient(case, tmp_path, ["ipo"], beta=0.1 * length))


def test_dpo_and_imitation_of_the_preferred(tmp_path):
    """TRL's "sft" is a mean over the tokens of all preferred answers, that of Iterative RPO a mean of each answer's own mean: the
    difference is a weight for each pair, its preferred answer's share of the tokens."""
    case = Case()
    imitation = dpo_gradient(case, tmp_path, ["sft"])
    length = torch.tensor([len(a) for a in ANSWERS], dtype=torch.float64)
    share = (length[0::2] / length[0::2].mean()).repeat_interleave(2)
    same(case.ours(chosen_nll(), pair, weight=share), imitation)
    assert (case.ours(chosen_nll(), pair) - imitation).abs().max() > 0.01 * imitation.abs().max()
    even = Case(answers=EVEN)
    both = dpo_gradient(even, tmp_path, ["sigmoid", "sft"], loss_weights=[1.0, 0.7])
    same(even.ours(plus(dpo(0.1), weighted(chosen_nll(), 0.7)), pair), both)


def test_simpo(tmp_path):
    case = Case()
    more = {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0}
    same(case.ours(simpo(2.0, 1.0), pair), without_reference(case, "cpo", tmp_path, **more))


def test_smoothed_dpo_with_a_uniform_reference_is_cpo(tmp_path):
    """A second oracle of the smoothing: CPO is DPO over a reference that prefers nothing."""
    case = Case()
    case.ref = [torch.zeros_like(r) for r in case.ref]
    more = {"loss_type": "sigmoid", "beta": 0.1, "cpo_alpha": 0.0, "label_smoothing": SMOOTHING}
    same(case.ours(dpo(0.1, smoothing=SMOOTHING), pair), without_reference(case, "cpo", tmp_path, **more))


# TRL takes the odds in float32 (``.float()``), which is good to 2^-24 = 6e-8 for each of a handful of operations, one of them a
# difference: the tolerance stays 1e-6.
def test_orpo(tmp_path):
    """After a prompt of one token, and for preferred answers of one length, TRL's loss is the paper's."""
    case = Case(prompt=PROMPT[:1], answers=EVEN)
    same(case.ours(orpo(0.1), pair), without_reference(case, "orpo", tmp_path, beta=0.1))


def test_orpo_imitates_the_prompt_too_in_trl(tmp_path):
    """In general TRL imitates the preferred answers' prompts as well, every token alike; the term of the odds is ours."""
    case = Case()
    theirs = without_reference(case, "orpo", tmp_path, beta=0.1)
    attention = case.mask()[0][0::2].clone()
    attention[:, 0] = 0  # nothing predicts the first token
    imitation = case.gradient(-(case.logp()[0::2] * attention).sum() / attention.sum())
    odds = case.ours(plus(orpo(0.1), weighted(chosen_nll(), -1.0)), pair)
    same(odds + imitation, theirs)
    same(odds, theirs - imitation, 1e-5)  # the odds are a tenth of the loss


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_kto(tmp_path, shift):
    """TRL takes z from answers to other prompts (``KL_input_ids``), ours from the answers themselves: given those, it is ours.
    Above the reference z is positive, below it is 0."""
    case = Case()
    case.ref = [r + shift for r in case.own]
    case.ref = [r + 0.1 * torch.arange(len(r)) for r in case.ref]
    z = (case.sums(case.own) - case.sums(case.ref)).mean()
    assert (z > 0) == (shift < 0), "the example must have a z on either side of 0"
    data = rows(prompt=["ab"] * 4, completion=["c", "d", "e", "f"], label=[True, False] * 2)
    args = config(trl.KTOConfig, tmp_path, beta=0.1, desirable_weight=1.0, undesirable_weight=1.3,
                  train_sampling_strategy="sequential")  # fmt: skip
    trainer = trl.KTOTrainer(case.model, ref_model=small("qwen3"), args=args, train_dataset=data, processing_class=byte_tokenizer())
    trainer.precompute_ref_logps = True
    case.model.eval()
    attention, answers = case.mask()
    same_rows = {"input_ids": case.ids(), "attention_mask": attention, "completion_mask": answers}
    inputs = {
        **same_rows, **{f"KL_{k}": v for k, v in same_rows.items()}, "label": torch.tensor([True, False] * 2),
        "ref_logps": case.sums(case.ref), "ref_KL_logps": case.sums(case.ref),
    }  # fmt: skip
    same(case.ours(kto(0.1, 1.0, 1.3), lambda _: "all"), case.theirs(trainer, inputs, False))
