"""Which step of a thought decides its answer? Each one is left out or changed in turn."""
