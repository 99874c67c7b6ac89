"""Learners: ``update(policy, lessons) -> metrics``, and the learning-rate schedules they take."""

from journeyman.learners.actor_critic import actor_critic
from journeyman.learners.anchored import anchored
from journeyman.learners.exploring import exploring
from journeyman.learners.gradient import Gradient
from journeyman.learners.mirror_prox import mirror_prox
from journeyman.learners.restart import restart
from journeyman.learners.schedules import constant, cosine, linear

__all__ = ["Gradient", "actor_critic", "anchored", "constant", "cosine", "exploring", "linear", "mirror_prox", "restart"]
