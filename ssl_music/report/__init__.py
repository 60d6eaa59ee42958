"""Pages that people look at: one HTML file that needs no network, and its figures as PNG beside it.

run ──Run──> facts ──figures, map──> pictures ──sections──> page.html

run        Run: the run folder of a quickstart, read back
palette    colours for light and dark, safe for colour-blind readers
figures    loss, collapse and score figures: the one door to matplotlib
map        vectors → a place for each song (t-SNE), and its class in each label column
scatter    the map as SVG with titles and a legend to point at, and as a figure
players    a few seconds of a packed song → an audio player inside the page
sections   one function a part of the page
page       page: the whole of it
page.css, page.js   how it looks, and the little it does; without JavaScript everything can be read
"""

from ssl_music.report.page import page

__all__ = ["page"]
