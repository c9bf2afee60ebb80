"""From figures to terminal, Markdown, CSV, JSON and HTML."""
