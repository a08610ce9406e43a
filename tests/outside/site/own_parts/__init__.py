"""A package of one's own: one part of each kind, announced under `own_parts-1.0.dist-info/entry_points.txt`."""
