"""Shows what runs found to somebody who was not there: one HTML page that opens from disk, or the same as text.

Everything is worked out in `eval.report.findings`, from the episodes and with the statistics of `eval.summary` and
`eval.comparison`; the templates only lay it out, so page, Markdown and JSON cannot differ. What comes from a run
folder is foreign text: templates escape it, and the page's policy lets no script run but its own.
"""
