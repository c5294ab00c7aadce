"""The state of a link: what profiles write, the contract shows, and the router does. Standard library only."""

from environments.link.state import Episode, LinkState, StateError, changed, gilbert_elliott, problem_with

__all__ = ["Episode", "LinkState", "StateError", "changed", "gilbert_elliott", "problem_with"]
