"""Expert iteration from scratch: the whole idea in one file, with nothing of journeyman imported.

A small recurrent network first learns two-digit addition from a careless teacher, who is wrong two times in five, so that it
is right only some of the time. Then it improves itself, five rounds of:

    1. the expert:     sample eight answers to each problem (the model plus inference-time compute),
    2. feedback:       a verifier, which can only say right or wrong, keeps a right one,
    3. the apprentice: the model learns what was kept, under the plain problem, and is the next round's expert.

The control does the same with a verifier that says "right" at random, just as often: without feedback, nothing is learned.

    python examples/loop_from_scratch.py        (about a minute on two idle cores)
"""

import random

import torch
from torch import nn
from torch.nn import functional as F

LETTERS = "0123456789+=."  # "." ends an answer
ID = {c: i for i, c in enumerate(LETTERS)}


class Policy(nn.Module):
    """Reads letters, says how likely each letter is to come next."""

    def __init__(self, size: int = 192) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(LETTERS), size)
        self.memory = nn.GRU(size, size, batch_first=True)
        self.head = nn.Linear(size, len(LETTERS))

    def forward(self, tokens, state=None):  # (B, T) -> (B, T, letters)
        hidden, state = self.memory(self.embed(tokens), state)
        return self.head(hidden), state

    @torch.no_grad()
    def sample(self, prompts: list[str], temperature: float = 1.0) -> list[str]:
        """One answer to each prompt; all prompts have the same length. Temperature 0 takes the likeliest letter."""
        logits, state = self(torch.tensor([[ID[c] for c in p] for p in prompts]))
        drawn = []
        for _ in range(4):
            last = logits[:, -1]
            token = last.argmax(-1) if temperature == 0 else torch.multinomial((last / temperature).softmax(-1), 1).squeeze(1)
            drawn.append(token)
            logits, state = self(token[:, None], state)
        texts = ("".join(LETTERS[i] for i in row) for row in torch.stack(drawn, 1).tolist())
        return [t.split(".")[0] for t in texts]

    def learn(self, lessons: list[tuple[str, str]], optimiser, batch: int = 256) -> None:
        """One pass of cross-entropy over (prompt, answer) pairs; only the answer is learned."""
        random.shuffle(lessons)
        for i in range(0, len(lessons), batch):
            rows = [(p, (p + a + ".").ljust(11, ".")) for p, a in lessons[i : i + batch]]
            tokens = torch.tensor([[ID[c] for c in text] for _, text in rows])
            answer = torch.zeros_like(tokens, dtype=torch.bool)
            for row, (prompt, text) in enumerate(rows):
                answer[row, len(prompt) : text.index(".") + 1] = True
            logits, _ = self(tokens[:, :-1])
            loss = F.cross_entropy(logits[answer[:, 1:]], tokens[:, 1:][answer[:, 1:]])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def problem() -> tuple[str, int]:
    a, b = random.randint(10, 99), random.randint(10, 99)
    return f"{a}+{b}=", a + b


def careless_teacher(answer: int) -> str:
    """Right three times in five, else off by a little."""
    return str(answer if random.random() < 0.6 else answer + random.choice([-10, -1, 1, 10]))


def accuracy(policy: Policy, problems: list[tuple[str, int]]) -> float:
    """Share of right answers, sampled at temperature 1."""
    answers = policy.sample([p for p, _ in problems])
    return sum(a == str(gold) for a, (_, gold) in zip(answers, problems, strict=True)) / len(problems)


def expert_iteration(
    policy: Policy, test: list[tuple[str, int]], verify, rounds: int = 5, batch: int = 2000, n: int = 8
) -> list[float]:
    """The loop. Returns the held-out accuracy before the first round and after each."""
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    curve = [accuracy(policy, test)]
    for _ in range(rounds):
        tasks = [problem() for _ in range(batch)]
        tries = [policy.sample([p for p, _ in tasks]) for _ in range(n)]  # the expert
        lessons = []
        for i, (prompt, gold) in enumerate(tasks):
            right = [answers[i] for answers in tries if verify(answers[i], gold)]  # feedback
            if right:
                lessons.append((prompt, right[0]))
        policy.learn(lessons, optimiser)  # the apprentice
        curve.append(accuracy(policy, test))
    return curve


def main(passes: int = 60, rounds: int = 5, batch: int = 2000) -> tuple[list[float], list[float]]:
    """Returns the accuracies of the verified run and of the control."""
    torch.manual_seed(0)
    random.seed(0)
    test = [problem() for _ in range(1000)]
    policy = Policy()
    optimiser = torch.optim.AdamW(policy.parameters(), lr=2e-3)
    for _ in range(passes):
        policy.learn([(p, careless_teacher(gold)) for p, gold in (problem() for _ in range(4096))], optimiser)
    start = {k: v.clone() for k, v in policy.state_dict().items()}

    learned = expert_iteration(policy, test, verify=lambda answer, gold: answer == str(gold), rounds=rounds, batch=batch)
    rate = learned[0]
    policy.load_state_dict(start)
    control = expert_iteration(policy, test, verify=lambda answer, gold: random.random() < rate, rounds=rounds, batch=batch)

    print("round     " + "  ".join(f"{i:5d}" for i in range(len(learned))))
    print("verified  " + "  ".join(f"{x:5.1%}" for x in learned))
    print("control   " + "  ".join(f"{x:5.1%}" for x in control))
    return learned, control


if __name__ == "__main__":
    main()
