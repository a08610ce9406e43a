"""How far proxies order layouts as published models do: a benchmark of evidence.

statements.py    reads and checks "layout a did better than layout b"; statements.csv holds 2,825 of them
source.py        the model that a layout was published for, and the depth of its proxy
plan.py          which proxies are trained for which statements
benchmark.py     trains them, in a folder
scores.py        what the runs came to
baselines.py     what one can say without training
agreement.py     shares with bootstrap intervals
report.py, text.py, figure.py    what is reported, and how it is written
"""
