"""Many runs as one static site: what run.json and report.json say, laid out. Computes no figure of its own."""
