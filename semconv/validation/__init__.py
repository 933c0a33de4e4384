"""Are the tests themselves right? Synthetic data with a known answer, and p-values that must be uniform."""
