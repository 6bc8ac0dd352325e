"""Quality on data with truth: `python -m benchmarks.quality --help`."""
