"""Suites that parts of your own pass like the built-in ones; they need pytest.

Inherit a contract in a test file. Assertions are shown in full if the test file begins with
`pytest.register_assert_rewrite("search_space.testing")` ahead of the import.
"""

from search_space.testing.channel_mixers import ChannelMixerContract
from search_space.testing.mixers import MixerContract
from search_space.testing.objectives import ObjectiveContract
from search_space.testing.tower import Tower

__all__ = ["ChannelMixerContract", "MixerContract", "ObjectiveContract", "Tower"]
