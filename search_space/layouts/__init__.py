"""Layouts: what sits in each layer, published ones, and how they change their depth."""
