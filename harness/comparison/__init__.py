"""Two runs of the same questions held against each other, figure by figure, from their records alone."""
