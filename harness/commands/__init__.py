"""Commands of the command line, one module each; every one is registered in harness.cli."""
