"""Parts of the record of a run, `run.json`, as dataclasses; `eval.runs.record` puts them together."""
