"""YAML to a frozen, validated suite; nothing else."""
