"""The whole configuration as one frozen tree, its batches, its limits, its faults in words, how a run goes on."""
