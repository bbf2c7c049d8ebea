"""Speed and quality against peers. Each module is a script: `python -m benchmarks.NAME`."""
