"""What people look at: MLflow runs, the picture of the front, the pages."""
