"""One page over a folder of runs, served on this machine or written as files.

The functions that answer for one kind of data know no server and no other kind; `eval.view.__main__` joins them.
Nothing is kept beside the runs: an index of them lives in memory, and is made again when the command starts.
"""
