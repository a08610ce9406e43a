"""What a layout costs at the target, and the objectives."""
