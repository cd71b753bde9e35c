"""Reports of runs: one HTML page that opens from disk, or the same figures as Markdown or JSON.

`findings` computes everything, with the statistics of `eval.runs.summary` and `eval.comparison`. The templates only
format the findings, so page, Markdown and JSON show the same figures. Text from run folders may be hostile: the
templates escape it, and the content security policy of the page allows only the page's own script.
"""
