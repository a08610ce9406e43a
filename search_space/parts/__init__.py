"""What layers are made of: the contracts of mixers and channel mixers, and what several of them share."""
