"""Small parts the walks share."""

from journeyman.protocols import words
from journeyman.types import Assignment


class once:
    """A curriculum that hands out the same tasks at every step and admits everything."""

    def __init__(self, tasks, siblings=1):
        self.tasks, self.siblings, self.seen = tasks, siblings, []
        self.needs, self.gives = words(), words("siblings") if siblings > 1 else words()

    def pick(self, n):
        return [Assignment(t, self.siblings) for t in self.tasks[:n]]

    def observe(self, groups):
        self.seen.append(groups)

    def admit(self, group):
        return True

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
