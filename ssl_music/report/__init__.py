"""Pages that people look at: one HTML file that needs no network, and its figures as PNG beside it.

run ──Run──> facts ──figures, map──> pictures ──sections──> page.html

run        Run: the run folder of a quickstart, read back
palette    colours for light and dark, safe for colour-blind readers
figures    loss, collapse and score figures: the one door to matplotlib
map        vectors → a place for each song (t-SNE), and its class in each label column
scatter    the map as SVG with titles and a legend to point at, and as a figure
songs      a few seconds of a packed song → an audio player inside the page
sections   one function a part of the page
page       page: the whole of it

records ──one file a question──> figures and rows of numbers

bars          every tag, by two or by hundreds
curves        ROC, precision and recall          calibration  whether probabilities mean what they say
confusion     which tags are taken for which     confused     the strongest confusions, as a list
comparison    encoders against each other, tasks side by side
efficiency    with few labels                    robust       when the sound changes
sheet, lettering   layout in inches; names that fit and stand apart       square, matrix   what several of these share

file, chain ──excerpts──> clips ──Chain──> views ──pictures──> page.html

excerpts   one clip of a file, and others of it, as training cuts them
drawn      what the effects drew, as people read it
pictures   waveform over log-mel, on scales that many sounds share
listen     listen: the original and its views as wav, and the page of them

document   the frame of both pages; text, small pieces of HTML
page.css, page.js   how they look, and the little they do; without JavaScript everything can be read
listen.css, listen.js   what only the page of `listen` needs
"""

from ssl_music.report.listen import listen
from ssl_music.report.page import page

__all__ = ["listen", "page"]
