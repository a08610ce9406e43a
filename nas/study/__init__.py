"""What can be asked of a search, or of a device, by training and measuring more."""
