"""The small generators behind the miniature corpus."""
