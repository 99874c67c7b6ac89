"""What the comparisons with TRL share: a tiny model, the same tokens for its trainers and for ours, and gradients by weight."""

from dataclasses import replace

import torch

from journeyman.batch import collate
from journeyman.learners.packing import totals_of
from journeyman.types import Lesson
from tests.objectives.batches import padded
from tests.policies.conftest import small

PROMPT = [97, 98, 99]
ANSWERS = [[100, 101, 102, 256], [103, 256], [104, 105, 256], [106, 107, 108, 109, 256]]  # preferred, then rejected, twice
PAD = 256


def near(rows, seed, spread=0.4):
    """Values near these, a fixed draw."""
    g = torch.Generator().manual_seed(seed)
    return [r + spread * (2 * torch.rand(r.shape, generator=g, dtype=r.dtype) - 1) for r in rows]


class Case:
    """A float64 model, four answers to one prompt, and log-probabilities near the model's own: old, reference, sampler's."""

    def __init__(self, prompt=PROMPT, answers=ANSWERS):
        torch.set_num_threads(1)
        self.prompt, self.answers = prompt, answers
        self.model = small("qwen3").double().eval()
        with torch.no_grad():
            logp = self.logp()
        self.own = [logp[i, len(prompt) : len(prompt) + len(a)] for i, a in enumerate(answers)]
        self.old, self.ref, self.behaviour = near(self.own, 1), near(self.own, 2), near(self.own, 3)
        self.advantage = [1.0, -0.5, 0.7, -1.2]

    def ids(self):
        full = torch.full((len(self.answers), len(self.prompt) + max(map(len, self.answers))), PAD)
        for i, a in enumerate(self.answers):
            full[i, : len(self.prompt) + len(a)] = torch.tensor([*self.prompt, *a])
        return full

    def mask(self):
        """The attention mask, the mask of answers (4, T)."""
        length = torch.tensor([len(self.prompt) + len(a) for a in self.answers])[:, None]
        at = torch.arange(self.ids().shape[1])[None]
        return (at < length).long(), ((at < length) & (at >= len(self.prompt))).long()

    def distributions(self):
        """Log-probabilities of every next token (4, T - 1, V)."""
        return self.model(input_ids=self.ids(), attention_mask=self.mask()[0]).logits[:, :-1].log_softmax(-1)

    def logp(self):
        each = self.distributions().gather(2, self.ids()[:, 1:, None])[:, :, 0]
        return torch.nn.functional.pad(each, (1, 0))

    def entropy(self):
        each = self.distributions()
        return torch.nn.functional.pad(-(each.exp() * each).sum(-1), (1, 0))

    def sums(self, rows):
        return torch.stack([r.sum() for r in rows])

    def ours(self, objective, pair=None, weight=None, **streams):
        """The gradient of our loss by weight. ``pair`` names a lesson's pair by its row, ``weight`` (4) are the lessons' weights,
        ``streams`` more of them, a list of tensors each."""
        lessons = []
        for i, a in enumerate(self.answers):
            sign = (1.0 if i % 2 == 0 else -1.0) if pair else self.advantage[i]
            train = (False,) * len(self.prompt) + (True,) * len(a)
            own = Lesson((*self.prompt, *a), train, tuple(sign if t else 0.0 for t in train), group="g", attempt=str(i))
            lessons.append(replace(own, pair=pair(i)) if pair else own)
        batch = collate(lessons, totals_of(lessons))
        zeros = torch.zeros(len(self.prompt), dtype=torch.float64)
        held = {"old_logp": self.old, "ref_logp": self.ref, "behaviour_logp": self.behaviour, **streams}
        held = {k: padded([torch.cat([zeros, r]).tolist() for r in v]) for k, v in held.items()}
        exact = {
            "weight": batch.weight.double() if weight is None else weight.double(),
            "advantage": padded([x.advantage for x in lessons]),
        }
        return self.gradient(objective(replace(batch, out=self.out(objective), streams=held, **exact))[0])

    def out(self, objective):
        entropy = {"entropy": self.entropy()} if "forward.entropy" in objective.needs else {}
        return {"logp": self.logp()} | entropy

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
