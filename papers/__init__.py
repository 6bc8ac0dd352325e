"""The papers' baselines, tables and claims: `python -m papers --help`."""
