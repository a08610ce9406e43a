"""The study of 2507.06457, redrawn with proxies: six linear mixers, each pure and at four shares of attention.

layouts.py   which layouts it has
cells.py     its runs as an array: mixer x ratio x seed
findings.py  what the paper found, and whether the proxies agree
fidelity.py  rank correlation with the paper's models, and of the proxies with themselves
figure.py    a picture of it
report.py    all of it as Markdown (`nas study DIR`)
*.csv        the paper's RULER averages (table 3, 1.3B parameters) and language-modelling averages (table 2)
"""
