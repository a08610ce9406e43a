"""The front as a picture: marks, labels, the key beside them, and how they come together."""
