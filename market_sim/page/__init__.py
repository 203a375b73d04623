"""The market on screen: a page that people play with (docs/server.md).  No science in it.

choices.py    what the controls of the page say, and the scenario that comes of it
desk.py       one visitor's session: a market, its figure, play and pause
controls.py   the column of controls
live.py       the market as it is played
compare.py    two regimes side by side
exact.py      the market solved
files.py      scenarios and runs in and out
whole.py      all of it, as one page
server.py     how it is served
"""
