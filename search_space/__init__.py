"""Mixers, layouts, spaces, and what layouts cost."""
