"""Reports of runs for people who were not there: one HTML page that opens from disk, or the same as Markdown or JSON.

`findings` computes everything, with the statistics of `eval.runs.summary` and `eval.comparison`. The templates only lay
it out, so page, Markdown and JSON show the same figures. Text from run folders may be hostile: the templates escape it,
and the security policy of the page runs no script but its own.
"""
