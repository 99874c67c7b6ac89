"""A learner that is saved and loaded goes on as if nothing had happened."""

import json

import torch


def copied(policy):
    return {n: w.clone() for n, w in policy.weights().items()}


def same(a, b, tolerance=0.0):
    """Two mappings of tensors are alike."""
    assert a.keys() == b.keys()
    for name, w in a.items():
        torch.testing.assert_close(w, b[name], rtol=0, atol=tolerance, msg=name)


def continued(fresh, lessons, before=2, after=2):
    """Learn ``lessons(i)`` in ``before`` updates, save, learn ``after`` more; then load into a fresh pair and learn these again:
    the same metrics, weights and optimiser state, to the bit. ``fresh()`` makes (policy, learner). Returns the metrics of the later
    updates and the tensors that were saved."""

    def go(learner, policy, steps):
        return [learner.update(policy, lessons(i)) for i in steps]

    policy, learner = fresh()
    learner.prepare(policy)
    go(learner, policy, range(before))
    known = json.loads(json.dumps(learner.state_dict()))
    kept, weights, version = {k: v.clone() for k, v in learner.tensors().items()}, copied(policy), policy.version
    expected = go(learner, policy, range(before, before + after))
    other, resumed = fresh()
    resumed.prepare(other)  # with the start weights, before the checkpoint is loaded
    other.load_weights(weights, version)
    resumed.load_state_dict(known)
    resumed.load_tensors(kept)
    assert go(resumed, other, range(before, before + after)) == expected
    same(copied(other), copied(policy))
    same(resumed.tensors(), learner.tensors())
    assert other.version == policy.version
    return expected, kept
