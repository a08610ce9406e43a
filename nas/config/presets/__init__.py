"""Configurations that come with nas, one YAML file each."""
