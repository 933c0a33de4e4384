"""What a run will take, before it begins: sizes, tasks, seconds, memory, disk and download."""
