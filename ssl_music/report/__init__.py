"""Pages that people look at: one HTML file that needs no network, and its figures as PNG beside it.

RUN… ──gathered──> records, stores, trainings ──Findings──> tasks ──parts──> page.html, figures/, MODEL_CARD.md

gathered   what lies in the folders: records of evaluations, stores of vectors, trainings, a quickstart's rest
naming     what encoders are called: one name for one set of weights
tasks      results of the same question, and their paired differences
findings   Findings: all of it, and whom the page is about
trainings  the facts and curves of a training
beside     the files beside the page, and what of them the page shows

scores     the table of encoders × tasks, and the verdict
taskwise   each task in full; tagwise: one encoder tag by tag
studies    few labels, altered sound, pooling
placed     the map of the catalog; map: t-SNE, scatter: as SVG with names to point at
heard      taggrams of chosen songs
songs      a few seconds of a packed song → an audio player inside the page
sections   how the page opens, training, time, what to run next
provenance where the numbers come from
card       the model card
page       page: the whole of it

figures    how every figure looks: the one door to matplotlib; loss and collapse curves
palette    colours for light and dark, safe for colour-blind readers

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
