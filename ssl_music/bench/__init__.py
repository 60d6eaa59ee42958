"""Evaluations that train, embed or compare: many encoders, many tasks, few labels.

baselines  what a trained encoder is held against: the same network untrained, log-mel statistics, MFCC
finetune   the protocol that trains the whole encoder
fractions  label efficiency: the score over the share of labels; subsets draws the labels, curves scores them
training   how long and how fast a network learns labels
labelled   a catalog's labels as a probe reads them, and a catalog with some of them hidden
grid       encoders × tasks, with mean ranks; contestants, tasks, asked and standings are its parts
leaks      near-duplicates between what was heard in pretraining and what is scored
pooling    how the scores of segments make the score of a song, compared
segments   one distance of segments of that comparison
"""
