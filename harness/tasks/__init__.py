"""What is asked of models, and how their records become figures."""
