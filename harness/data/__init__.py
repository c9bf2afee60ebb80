"""Where images come from: manifests, layouts, sampling, the confound audit, the miniature corpus."""
