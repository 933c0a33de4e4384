"""What a run says, and how it is checked: claims, the reference run."""
